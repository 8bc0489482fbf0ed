//! RFC 3339 timestamps by hand.
//!
//! Called by the access log for each line. UTC only; leap seconds are unknown to Unix time, and so to this.

use std::time::{SystemTime, UNIX_EPOCH};

/// Writes a time as `2026-11-20T08:30:00.123Z`. Times before 1970 are written as 1970.
pub(super) fn write(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let second_of_day = (seconds % 86_400) as u32;
    let [hour, minute, second] =
        [second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60];
    let millis = since.subsec_millis();
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let numbers = [year / 100, year % 100, month, day, hour, minute, second, millis / 10];
    for (value, place) in numbers.into_iter().zip([0, 2, 5, 8, 11, 14, 17, 20]) {
        if let Some(digits) = text.get_mut(place..place + 2) {
            digits.copy_from_slice(&[value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8));
        }
    }
    text[22] = b'0' + (millis % 10) as u8;
    out.extend_from_slice(&text);
}

/// The Gregorian date of a day since 1970-01-01.
///
/// Years here begin in March, so that the leap day is the last of its year, and 400 of them always have 146,097 days.
fn date(days: u64) -> (u32, u32, u32) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days, and so have the next five.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year_carry, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    ((era * 400 + year_of_era + year_carry) as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(millis: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, UNIX_EPOCH + Duration::from_millis(millis));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_times_are_written_as_known() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(written(millis), expected);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let leap = |year: u32| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..800 * 365 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day == length { (1, month + 1) } else { (day + 1, month) };
            if month == 13 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_time_before_1970_does_not_panic() {
        let mut out = Vec::new();
        write(&mut out, UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }
}
