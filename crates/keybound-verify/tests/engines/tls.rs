use crate::front::Front;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Checks what a proxy requests in the handshake, as OpenSSL's client reports it.
pub fn check_tls(front: &Front) {
    for version in ["-tls1_2", "-tls1_3"] {
        let folder = tempfile::tempdir().unwrap();
        let session = folder.path().join("session");
        let save = ["-sess_out", session.to_str().unwrap()];
        let options = [&[version, "-ign_eof"], &save[..]].concat();
        let report = report(front, &options, REQUEST);
        let name = front.kind.name;
        // Java sends no certificate if no CA in this list issued one of its certificates.
        let requests_any = report.contains("No client certificate CA names sent");
        assert!(requests_any, "{name}: {report}");
        // A request within early data can be sent again by anyone.
        let mut early = report
            .lines()
            .filter(|line| line.contains("Max Early Data"));
        assert!(early.all(|line| line.ends_with(": 0")), "{name}: {report}");
        check_no_resumption(front, version, &session);
    }
    // The commands of the client are letters at the start of a line: R renegotiates.
    let report = report(front, &["-tls1_2"], "R\n");
    let is_refused = ["no renegotiation", "alert unexpected message"];
    assert!(
        is_refused.iter().any(|alert| report.contains(alert)),
        "{}: {report}",
        front.kind.name
    );
}

/// A resumed session has the certificate of another handshake.
fn check_no_resumption(front: &Front, version: &str, session: &Path) {
    // Without the file, the proxy has offered none.
    if session.exists() {
        let session = session.to_str().unwrap();
        let report = report(front, &[version, "-ign_eof", "-sess_in", session], REQUEST);
        let name = front.kind.name;
        assert!(report.contains("\nNew, TLSv1"), "{name}: {report}");
    }
}

fn report(front: &Front, options: &[&str], input: &str) -> String {
    let address = front.engine.address.to_string();
    // The certificate with its key.
    let leaf = front.leaf("client");
    let mut pem = leaf.pem();
    pem.extend(leaf.key.private_key_to_pem_pkcs8().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), pem).unwrap();
    // It waits for the end of the connection, whatever the proxy answers.
    let mut client = Command::new("timeout")
        .args(["120", "openssl", "s_client", "-connect", &address])
        .args(["-servername", &front.host, "-cert"])
        .arg(file.path())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    // The proxy may end the connection first.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = client.wait_with_output().unwrap();
    let texts = [output.stdout, output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat()
}

const REQUEST: &str = "GET / HTTP/1.0\r\n\r\n";
