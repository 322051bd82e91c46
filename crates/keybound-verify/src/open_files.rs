//! The limit of open files of this process. A connection is one.
use crate::{Config, ConfigError};

/// Raises the limit to the highest that is allowed. The number of TLS handshakes that may run beside the connections of a configuration.
///
/// # Errors
/// If the limit is too low for the connections.
pub(crate) fn reserve(config: &Config) -> Result<usize, ConfigError> {
    handshakes(config, raise())
}

fn handshakes(config: &Config, limit: usize) -> Result<usize, ConfigError> {
    let available = limit.saturating_sub(OTHERS);
    let handshakes = match config.listen.tls {
        Some(_) => MAX_HANDSHAKES.min(available / 2),
        None => 0,
    };
    let most = available - handshakes;
    if config.limits.connections > most {
        return Err(ConfigError::new(format!(
            "[limits]: connections is larger than {most}, which is what the limit of {limit} open files has room for: raise that \
             (LimitNOFILE= of systemd, ulimit -Hn), or set a smaller number"
        )));
    }
    Ok(handshakes)
}

#[cfg(unix)]
fn raise() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = limit.maximum.unwrap_or(u64::MAX);
    // macOS allows less than the limit that it states.
    for current in [limit.maximum, Some(highest.min(OPEN_MAX))] {
        let raised = Rlimit { current, ..limit };
        if current.is_none_or(|files| limit.current.is_some_and(|now| now < files))
            && setrlimit(Resource::Nofile, raised).is_ok()
        {
            break;
        }
    }
    // What it is now, also if it could not be raised.
    let files = getrlimit(Resource::Nofile).current.map(usize::try_from);
    files.and_then(Result::ok).unwrap_or(usize::MAX)
}

/// There is none.
#[cfg(not(unix))]
fn raise() -> usize {
    usize::MAX
}

/// Files for other purposes: the connections of operators, those to issuers, files that are read, and what the process needs itself.
const OTHERS: usize = 256;
/// The most of macOS.
#[cfg(unix)]
const OPEN_MAX: u64 = 10_240;
const MAX_HANDSHAKES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_handshakes_are_fewer_than_open_files() {
        let tls = "tcp = \"0.0.0.0:1\"\n[listen.tls]\ncertificate = \"a\"\nkey = \"b\"\nclients = [\"c\"]\n";
        let plain = "tcp = \"127.0.0.1:1\"\n";
        for (listen, connections, limit, expected) in [
            (plain, 1024, usize::MAX, Ok(0)),
            (plain, 1024, 1280, Ok(0)),
            (plain, 1024, 1279, Err("larger than 1023, ")),
            (plain, 1, 0, Err("larger than 0, ")),
            (tls, 1024, usize::MAX, Ok(1024)),
            (tls, 1024, 2304, Ok(1024)),
            (tls, 1024, 1024, Err("larger than 384, ")),
            (tls, 384, 1024, Ok(384)),
        ] {
            let text = format!(
                "[listen]\n{listen}[proxy]\nengine = \"nginx\"\n[limits]\nconnections = {connections}\n[[api]]\nhosts = [\"a.test\"]\naudiences = [\"a\"]\ntenants = \"any\"\n"
            );
            let config = Config::from_toml(&text).unwrap();
            match (handshakes(&config, limit), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{connections} {limit}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (found, _) => panic!("{found:?} {connections} {limit}"),
            }
        }
    }
}
