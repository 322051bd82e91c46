//! The operating system and OpenSSL of the host.

/// The operating system and its version, as far as they are known.
pub(crate) fn os() -> String {
    crate::text::printable_line(&platform::os())
}

/// The version of OpenSSL in use.
pub(crate) fn openssl() -> &'static str {
    openssl::version::version()
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;

    pub(super) fn os() -> String {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = pretty_name(&release).unwrap_or("Linux");
        match fs::read_to_string("/proc/sys/kernel/osrelease") {
            Ok(kernel) => format!("{name}, kernel {}", kernel.trim()),
            Err(_) => name.to_owned(),
        }
    }

    fn pretty_name(release: &str) -> Option<&str> {
        let value = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(value.trim_matches('"'))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn reads_name_of_distribution() {
            let release = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
            assert_eq!(pretty_name(release), Some("Debian GNU/Linux 12 (bookworm)"));
            assert_eq!(pretty_name(""), None);
        }
    }
}

#[cfg(windows)]
mod platform {
    pub(super) fn os() -> String {
        let version = windows_version::OsVersion::current();
        format!(
            "Windows {}.{}.{}",
            version.major, version.minor, version.build
        )
    }
}

#[cfg(not(any(target_os = "linux", windows)))]
mod platform {
    pub(super) fn os() -> String {
        std::env::consts::OS.to_owned()
    }
}
