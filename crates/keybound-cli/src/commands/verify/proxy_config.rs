use super::{out, read_config, wrong};
use crate::args::ProxyConfigArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::printable_line;
use keybound_verify::{DaemonConnection, Engine, FrontEnd, proxy_config, proxy_script};

/// Prints the configuration of a proxy.
pub(super) fn run(args: &ProxyConfigArgs) -> Result<Exit, Failure> {
    let config = read_config(&args.config)?;
    let engine = config.proxy.engine;
    let is_known = |known: &Engine| known.name() == args.engine;
    if !Engine::ALL.iter().any(is_known) {
        let known: Vec<_> = Engine::ALL.iter().map(|known| known.name()).collect();
        let engine = printable_line(&args.engine);
        return Err(Failure::Usage(format!(
            "unknown proxy {engine}: expected {}",
            known.join(", ")
        )));
    }
    if args.engine != engine.name() {
        return Err(wrong(
            &args.config,
            &format!("the proxy there is {engine}: the daemon would not understand another one"),
        ));
    }
    let mut front = FrontEnd::new(&args.certificate, &args.key, args.upstream.clone());
    front.listen = args.listen;
    front.script.clone_from(&args.script_file);
    if let (Some(address), Some(ca), Some(certificate), Some(key)) = (
        &args.daemon,
        &args.daemon_ca,
        &args.proxy_certificate,
        &args.proxy_key,
    ) {
        front.daemon = Some(DaemonConnection::new(address.clone(), ca, certificate, key));
    }
    let printed = match args.script {
        true => proxy_script(&config, &front),
        false => proxy_config(&config, &front),
    };
    let printed = printed.map_err(|error| wrong(&args.config, &error))?;
    out::data(printed.as_bytes())?;
    Ok(Exit::Success)
}
