use crate::front::Front;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Checks what a proxy requests in the handshake, as OpenSSL's client reports it.
pub fn check_tls(front: &Front) {
    for version in ["-tls1_2", "-tls1_3"] {
        let report = report(front, &[version, "-ign_eof"], "GET / HTTP/1.0\r\n\r\n");
        let name = front.kind.name;
        // Java sends no certificate if no CA in this list issued one of its certificates.
        let requests_any = report.contains("No client certificate CA names sent");
        assert!(requests_any, "{name}: {report}");
        // A request within early data can be sent again by anyone.
        let mut early = report
            .lines()
            .filter(|line| line.contains("Max Early Data"));
        assert!(early.all(|line| line.ends_with(": 0")), "{name}: {report}");
    }
    // The commands of the client are letters at the start of a line: R renegotiates.
    let report = report(front, &["-tls1_2"], "R\n");
    assert!(
        report.contains("no renegotiation"),
        "{}: {report}",
        front.kind.name
    );
}

fn report(front: &Front, options: &[&str], input: &str) -> String {
    let address = front.engine.address.to_string();
    // It waits for the end of the connection, whatever the proxy answers.
    let mut client = Command::new("timeout")
        .args(["120", "openssl", "s_client", "-connect", &address])
        .args(["-servername", &front.host])
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
