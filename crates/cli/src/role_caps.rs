//! What queries of a role may use, as an operator writes it.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::ValueEnum;
use didymium_server::{Caps, Role, RoleCaps};

use crate::args::RoleArg;

/// `read: rows=1000000 bytes=1GiB time=60s memory=256MiB; write: time=10m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleCapsText(pub(crate) RoleCaps);

impl FromStr for RoleCapsText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut caps = RoleCaps::new();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let (role, limits) = part
                .split_once(':')
                .ok_or_else(|| format!("{}: write ROLE: LIMIT=VALUE", part.trim()))?;
            let role = role_of(role.trim())?;
            if caps.insert(role, caps_of(limits)?).is_some() {
                return Err(format!("the role '{role}' stands twice"));
            }
        }
        Ok(Self(caps))
    }
}

fn role_of(name: &str) -> Result<Role, String> {
    let role = RoleArg::from_str(name, false).map(Role::from);
    role.map_err(|_| format!("{name} is no role: read, write, schedule or admin"))
}

fn caps_of(text: &str) -> Result<Caps, String> {
    let mut caps = Caps::default();
    for limit in text.split_whitespace() {
        let (name, value) = limit
            .split_once('=')
            .ok_or_else(|| format!("{limit}: write LIMIT=VALUE"))?;
        let is_new = match name {
            "rows" => caps.rows.replace(number(limit, value)?).is_none(),
            "bytes" => caps.bytes.replace(size(limit, value)?).is_none(),
            "time" => caps.time.replace(time(limit, value)?).is_none(),
            "memory" => {
                let bytes = usize::try_from(size(limit, value)?).unwrap_or(usize::MAX);
                caps.memory.replace(bytes).is_none()
            }
            _ => return Err(format!("{name} is no limit: rows, bytes, time or memory")),
        };
        if !is_new {
            return Err(format!("{name} stands twice"));
        }
    }
    match caps == Caps::default() {
        true => Err("a role's limits are rows=, bytes=, time= and memory=".to_owned()),
        false => Ok(caps),
    }
}

fn number(limit: &str, value: &str) -> Result<u64, String> {
    let number = value.parse();
    number.map_err(|_| format!("{limit}: write a whole number"))
}

fn size(limit: &str, value: &str) -> Result<u64, String> {
    let size = value.parse::<ByteSize>().map(|size| size.as_u64());
    size.map_err(|_| format!("{limit}: write a size, such as 256MiB"))
}

fn time(limit: &str, value: &str) -> Result<Duration, String> {
    humantime::parse_duration(value).map_err(|_| format!("{limit}: write a time, such as 60s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_every_role_is_read() {
        let text = "read: rows=1000 bytes=1MiB time=1m memory=2KiB; admin: time=2s";
        let RoleCapsText(caps) = text.parse().expect("it is right");
        let of_readers = Caps {
            rows: Some(1000),
            bytes: Some(1024 * 1024),
            time: Some(Duration::from_secs(60)),
            memory: Some(2048),
        };
        assert_eq!(caps.get(&Role::Read), Some(&of_readers));
        assert_eq!(caps.get(&Role::Admin).and_then(|caps| caps.rows), None);
        assert_eq!(caps.get(&Role::Write), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("reader: rows=1", "reader is no role"),
            ("read rows=1", "write ROLE: LIMIT=VALUE"),
            ("read: rows", "write LIMIT=VALUE"),
            ("read: lines=1", "lines is no limit"),
            ("read: rows=many", "rows=many: write a whole number"),
            ("read: time=1", "time=1: write a time"),
            ("read: bytes=1x", "bytes=1x: write a size"),
            ("read: rows=1 rows=2", "rows stands twice"),
            ("read: rows=1; read: rows=2", "'read' stands twice"),
            ("read:", "a role's limits are"),
        ] {
            let told = text.parse::<RoleCapsText>().expect_err(text);
            assert!(told.contains(named), "{text}: {told}");
        }
    }
}
