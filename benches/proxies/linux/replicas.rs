//! One, two and four daemons behind one nginx.
use super::CONNECTIONS;
use super::client::Client;
use super::nginx::Nginx;
use keybound_benches::server_thread::ServerThread;
use keybound_benches::setting::Setting;
use std::time::Duration;

/// Prints the rate, the latencies, and the processor time for a request.
pub fn measure(seconds: u64) {
    let setting = Setting::create();
    let api = Nginx::api();
    let daemons: Vec<ServerThread> = (0..4)
        .map(|number| ServerThread::numbered_daemon(setting.folder(), "nginx", number))
        .collect();
    for count in [1, 2, 4] {
        let nginx = Nginx::with_daemon(&setting, &api, count);
        let mut client = Client::connect(&setting, &nginx, CONNECTIONS);
        client.send(CONNECTIONS * 50);
        let used = |daemons: &[ServerThread]| -> Duration {
            daemons.iter().map(ServerThread::processor_time).sum()
        };
        let before = (used(&daemons), nginx.processor_time());
        let report = client.send_for(Duration::from_secs(seconds));
        let requests = u32::try_from(report.latencies.len()).unwrap();
        println!(
            "{count} daemons: {report}; processor time for a request: daemons {:.1} µs, nginx {:.1} µs",
            micros((used(&daemons) - before.0) / requests),
            micros((nginx.processor_time() - before.1) / requests),
        );
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
