//! The segments of a path, as shapes ask for them.
//!
//! Counted once a request, when the first pattern asks that is not a whole path; looked for where they stand whenever one
//! is hashed or compared. To write their places down first takes longer for all but very long paths. Never allocates.

/// A path and the number of its segments.
pub(super) struct Segments<'p> {
    path: &'p str,
    count: usize,
}

// === impl Segments ===

impl<'p> Segments<'p> {
    pub(super) fn of(path: &'p str) -> Self {
        Self { path, count: path.bytes().filter(|byte| *byte == b'/').count() }
    }

    /// How many there are; each begins with a slash.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Within a normal path, only the last segment can be empty.
    pub(super) fn last_is_empty(&self) -> bool {
        self.path.ends_with('/')
    }

    /// Those from one number up to but not including another, with the slash before each.
    pub(super) fn between(&self, from: usize, to: usize) -> &'p str {
        let (_, rest) = split(self.path, from);
        let (segments, _) = split(rest, to - from);
        segments
    }
}

/// The first `count` segments, and the others.
fn split(path: &str, count: usize) -> (&str, &str) {
    if count == 0 {
        return ("", path);
    }
    let mut slashes = 0;
    let end = path.bytes().position(|byte| {
        slashes += usize::from(byte == b'/');
        slashes > count
    });
    path.split_at(end.unwrap_or(path.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_found_by_number_however_many_there_are() {
        for count in [1, 2, 9, 100] {
            let texts: Vec<String> = (0..count).map(|number| format!("/{number}")).collect();
            let path = texts.concat();
            let segments = Segments::of(&path);
            assert_eq!(segments.count(), count);
            for (number, text) in texts.iter().enumerate() {
                assert_eq!(segments.between(number, number + 1), text);
                assert_eq!(segments.between(number, count + 9), texts[number..].concat());
            }
            assert_eq!(segments.between(count, count + 1), "");
        }
    }

    #[test]
    fn slash_at_the_end_begins_an_empty_segment() {
        let segments = Segments::of("/a/");
        assert_eq!((segments.count(), segments.between(1, 2)), (2, "/"));
        assert!(segments.last_is_empty() && !Segments::of("/a").last_is_empty());
    }
}
