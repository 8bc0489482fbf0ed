//! The image: what the binary needs of its base, and that it is built as the Makefile builds.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What `distroless/cc` has beside the binary: glibc, and libgcc for unwinding.
const BASE: [&str; 7] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
];

fn project(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn the_binary_needs_nothing_that_the_image_lacks() {
    let output = Command::new("readelf")
        .args(["--dynamic", "--wide", env!("CARGO_BIN_EXE_tollgate")])
        .output()
        .expect("readelf comes with the C compiler");
    let dynamic = String::from_utf8(output.stdout).unwrap();
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    assert!(needed.contains("libc.so.6"), "{dynamic}");
    let missing: Vec<_> = needed.into_iter().filter(|library| !BASE.contains(library)).collect();
    assert!(missing.is_empty(), "not in the image: {missing:?}");
}

#[test]
fn the_image_is_built_by_the_makefiles_target() {
    let (dockerfile, makefile) = (project("Dockerfile"), project("Makefile"));
    let steps: Vec<&str> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("RUN ")).collect();
    assert_eq!(steps.last(), Some(&"make release"), "the last step of the build");
    assert!(!dockerfile.contains("cargo "), "how to build stands in the Makefile alone");
    let target = makefile.split("\nrelease: setup").nth(1).expect("the target is there");
    let recipe = target.lines().nth(1).unwrap();
    assert_eq!(recipe, "\t$(CARGO) build --release --locked");
    // What `make setup` would install is there already: the image has no sudo.
    let packages = steps.first().unwrap();
    for package in ["cmake", "gcc", "make"] {
        assert!(packages.split(' ').any(|word| word == package), "{package}");
    }
}

#[test]
fn the_image_runs_the_shipped_config_without_root() {
    let dockerfile = project("Dockerfile");
    for line in [
        "FROM gcr.io/distroless/cc-debian12:nonroot",
        "COPY --from=build /tollgate/target/release/tollgate /usr/local/bin/tollgate",
        "COPY --from=build /tollgate/routes.toml /etc/tollgate/routes.toml",
        "USER 65532:65532",
        "ENTRYPOINT [\"/usr/local/bin/tollgate\"]",
        "CMD [\"run\", \"/etc/tollgate/routes.toml\"]",
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "no line {line}");
    }
    let ignored = project(".dockerignore");
    assert!(ignored.lines().any(|line| line == "target/"), "{ignored}");
}
