//! docs/attestation.md has the texts of the code.
use keybound_attestation::native::NativeCode;

#[test]
fn page_lists_all_codes() {
    let page = include_str!("../../../docs/attestation.md");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| -"))
        .collect();
    let expected: Vec<_> = NativeCode::known().map(row).collect();
    assert_eq!(rows, expected, "expected rows:\n{}", expected.join("\n"));
}

fn row(code: NativeCode) -> String {
    let retry = if code.is_transient() { "yes" } else { "no" };
    format!(
        "| {} | `{}` | {} | {} | {retry} |",
        code.number(),
        code.name(),
        code.meaning(),
        code.next_step()
    )
}
