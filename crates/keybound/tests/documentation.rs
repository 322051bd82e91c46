//! The documentation says what the code does.
use keybound::ErrorKind;

#[test]
fn troubleshooting_explains_every_error_code() {
    let page = include_str!("../../../docs/troubleshooting.md");
    for kind in ErrorKind::ALL {
        let row = format!("| `{}` |", kind.code());
        assert!(
            page.contains(&row),
            "docs/troubleshooting.md has no row for {}",
            kind.code()
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        ErrorKind::ALL.len(),
        "docs/troubleshooting.md explains a code that does not exist"
    );
}
