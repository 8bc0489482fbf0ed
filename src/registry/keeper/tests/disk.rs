//! Files that are as they were written, and files that are not.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use super::instance;
use crate::registry::{
    Instance,
    keeper::disk::{DiskCopy, DiskError},
};

fn copy(directory: &tempfile::TempDir) -> DiskCopy {
    DiskCopy::new(directory.path().join("views"), "main", "print")
}

#[test]
fn a_copy_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let disk = copy(&directory);
    let odd = Instance {
        address: "[2001:db8::1]:80".parse().unwrap(),
        weight: f64::INFINITY,
        healthy: false,
        enabled: false,
        metadata: [("zone".into(), "ä\n\0".into())].into(),
    };
    disk.save("orders", &[instance(1), odd.clone()]).unwrap();
    disk.save("empty", &[]).unwrap();
    let saved = disk.load("orders").unwrap();
    assert_eq!(saved.instances, [instance(1), odd]);
    assert!(saved.age < Duration::from_secs(60));
    assert_eq!(disk.load("empty").unwrap().instances, []);
    disk.save("nan", &[Instance { weight: f64::NAN, ..instance(1) }]).unwrap();
    assert!(disk.load("nan").unwrap().instances[0].weight.is_nan());
}

#[test]
fn a_copy_is_for_its_owner_alone_and_nothing_lies_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = copy(&directory);
    disk.save("orders", &[instance(1)]).unwrap();
    disk.save("orders", &[instance(2)]).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&disk.path("orders")), 0o600);
    assert_eq!(mode(&directory.path().join("views")), 0o700);
    assert_eq!(fs::read_dir(directory.path().join("views")).unwrap().count(), 1);
}

#[test]
fn any_name_is_a_file_of_its_own_inside_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let disk = copy(&directory);
    let long = "x".repeat(5000);
    let names = ["../../etc/passwd", "a/b", "a.b", "ab", "G@@S", "", "\0", "..", "ORDERS", &long];
    for (number, name) in (1..).zip(names) {
        disk.save(name, &[instance(number)]).unwrap();
    }
    for (number, name) in (1..).zip(names) {
        assert_eq!(disk.load(name).unwrap().instances, [instance(number)], "{name}");
    }
    assert_eq!(fs::read_dir(directory.path().join("views")).unwrap().count(), names.len());
}

#[test]
fn what_is_not_as_it_was_written_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let disk = copy(&directory);
    assert!(matches!(disk.load("orders"), Err(DiskError::Absent)));
    disk.save("orders", &[instance(1)]).unwrap();
    let path = disk.path("orders");
    let whole = fs::read(&path).unwrap();

    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = disk.load("orders").unwrap_err();
        assert!(
            matches!(error, DiskError::Corrupt(_) | DiskError::HalfWritten),
            "{length}: {error}"
        );
    }
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        fs::write(&path, &bent).unwrap();
        assert!(disk.load("orders").is_err(), "a bit of byte {at}");
    }
    let text = String::from_utf8(whole.clone()).unwrap();
    fs::write(&path, text.replace("tollgate-view-1", "tollgate-view-2")).unwrap();
    assert!(matches!(disk.load("orders"), Err(DiskError::Schema(version)) if version == "2"));
    fs::write(&path, [0xff; 100]).unwrap();
    assert!(matches!(disk.load("orders"), Err(DiskError::Corrupt(_))));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(disk.load("orders"), Err(DiskError::Io(_))));
}

#[test]
fn a_copy_of_another_registry_or_service_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let disk = copy(&directory);
    disk.save("orders", &[instance(1)]).unwrap();
    let moved = DiskCopy::new(directory.path().join("views"), "main", "another print");
    assert!(matches!(moved.load("orders"), Err(DiskError::Foreign)));
    fs::copy(disk.path("orders"), disk.path("users")).unwrap();
    assert!(matches!(disk.load("users"), Err(DiskError::Foreign)));
}
