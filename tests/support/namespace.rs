//! Programs in network namespaces.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::process::Command;

/// Runs a program in a network namespace, with this process's mounts.
pub fn within(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
    command
}

pub fn ip(arguments: &str) {
    try_ip(arguments).unwrap();
}

pub fn try_ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let error = || format!("ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(()) } else { Err(error()) }
}
