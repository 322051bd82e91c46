//! Writes the API of the guide docs/resource.md to a file that `tests/axum_guide.rs` includes, with the values of the test in place of
//! those of a deployment. A build fails if the page has no such values any more.
use std::error::Error;
use std::path::Path;

/// What the guide has once, and what the test has in its place: the issuers of the emulator, its CA, and the server's address.
const REPLACED: [(&str, &str); 3] = [
    ("Verifier::builder()", "crate::verifier_builder()"),
    ("HttpsSettings::default()", "crate::https_settings()"),
    ("\"0.0.0.0:443\"", "crate::address()"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/resource.md");
    println!("cargo:rerun-if-changed={}", page.display());
    let page = std::fs::read_to_string(page)?;
    let mut block = first_rust_block(&page)?.to_owned();
    for (of_page, of_test) in REPLACED {
        if block.matches(of_page).count() != 1 {
            return Err(format!("docs/resource.md: the API does not have {of_page} once").into());
        }
        block = block.replace(of_page, of_test);
    }
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("axum_guide.rs"), block)?;
    Ok(())
}

fn first_rust_block(page: &str) -> Result<&str, Box<dyn Error>> {
    let (_, section) = page
        .split_once("\n## An API with axum\n")
        .ok_or("docs/resource.md has no section of axum")?;
    let (_, block) = section
        .split_once("\n```rust,no_run\n")
        .ok_or("the section of axum has no block of Rust")?;
    let (block, _) = block
        .split_once("\n```\n")
        .ok_or("the block of Rust does not end")?;
    Ok(block)
}
