//! docs/attestation.md says what the code does.
use keybound_attestation::native::NativeCode;

#[test]
fn the_page_explains_each_code_as_the_errors_do() {
    let page = include_str!("../../../docs/attestation.md");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| -"))
        .collect();
    let expected: Vec<_> = NativeCode::known().map(row).collect();
    assert_eq!(
        rows,
        expected,
        "the rows are to be\n{}",
        expected.join("\n")
    );
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
