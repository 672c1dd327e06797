//! The command line: what it is called and what it takes. No behaviour.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::container::{Named, Network};
use crate::detect::Severity;
use crate::output::{Events, OUTPUTS};

/// Network monitor for containers: reverse shells, beacons and exfiltration, seen at the veth.
#[derive(Debug, Parser)]
#[command(
    name = "vethwatch",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes:
  0  done
  1  done, and there is a finding at or above --fail-on
  2  the input, the configuration or the environment cannot be used (a message says why)
  130, 143  interrupted by SIGINT or SIGTERM: the results cover what replay had read
  141  nobody reads the results any more"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Analyse captures: files, directories or standard input
    Replay(Box<ReplayArgs>),
    /// Watch every container of the node that this runs on
    Node(Box<NodeArgs>),
    /// Watch the interfaces of the pod that this runs in
    Sidecar(Box<SidecarArgs>),
    /// List the containers of this node, how well each is seen, and why not
    Coverage(CoverageArgs),
    /// Say what each mode can and cannot do here, and what to do about it
    Doctor(DoctorArgs),
    /// Print the effective configuration, every key with its meaning and unit
    Config(ConfigArgs),
    /// Print the JSON Schema of the records
    Schema,
    /// Print a detector's alerting and detection strategy, or list the detectors
    Ads(AdsArgs),
}

/// `vethwatch replay`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch replay capture.pcap
      Read one capture; on a terminal, show a report of what was found.
  vethwatch replay --pod-network 10.244.0.0/16 /var/captures/
      Read all captures of a directory in time order; every pod address is a container.
  tcpdump -i any -w - | vethwatch replay --format eve --events alert -
      Read standard input; write each finding as a line of JSON.
  vethwatch replay --fail-on high capture.pcap.gz
      Exit with 1 if there is a finding of severity high or critical.")]
pub struct ReplayArgs {
    /// Captures to read: pcap or pcapng, plain or compressed with gzip or zstd; `-` for standard
    /// input; a directory for all captures in it. Several are merged in time order.
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// Read settings from this TOML file; `vethwatch config` prints one to start from
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How and where to write the results
    #[command(flatten)]
    pub results: ResultArgs,

    /// Exit with 1 if there is a finding of this severity or above
    #[arg(long, value_name = "SEVERITY", value_parser = severity_parser())]
    pub fail_on: Option<Severity>,

    /// A container by name and addresses; may be repeated
    #[arg(long = "container", value_name = "NAME=ADDR[,ADDR…]", value_parser = container)]
    pub containers: Vec<Named>,

    /// Addresses in this range are containers; may be repeated
    #[arg(long = "pod-network", value_name = "CIDR")]
    pub pod_networks: Vec<Network>,

    /// Addresses in this range are services of the cluster, never containers; may be repeated
    #[arg(long = "service-network", value_name = "CIDR")]
    pub service_networks: Vec<Network>,

    /// Addresses in this range are nodes or gateways, never containers; may be repeated
    #[arg(long = "node-network", value_name = "CIDR")]
    pub node_networks: Vec<Network>,

    /// Show no progress bar (it appears only on terminals, and only on long input)
    #[arg(long)]
    pub no_progress: bool,

    /// Say on standard error what was read and what was passed over
    #[arg(long, short)]
    pub verbose: bool,
}

/// How and where results are written.
#[derive(Args, Debug)]
pub struct ResultArgs {
    /// How to write the results [default: table on a terminal, else eve; eve with --events]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub format: Option<String>,

    /// Which records to write in eve, separated by commas [default: all]
    #[arg(long, value_name = "KIND,…")]
    pub events: Option<Events>,

    /// Write the records to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `vethwatch sidecar`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch sidecar
      Watch all interfaces of this pod until it ends.
  vethwatch sidecar --interface eth0 --events alert
      Watch one, and write each finding as a line of JSON.

Who the pod is, it reads from these variables, each also with the prefix VETHWATCH_, which is read
first (set them by the downward API): POD_NAME, POD_NAMESPACE, POD_UID, CONTAINER_NAME,
CONTAINER_IMAGE; then from the files of --podinfo. Needs the capability NET_RAW and nothing else.

SIGTERM ends it within two seconds; SIGHUP reads the file of --config again.")]
pub struct SidecarArgs {
    /// An interface to watch; may be repeated [default: all that are up, but for loopback]
    #[arg(long = "interface", short, value_name = "NAME")]
    pub interfaces: Vec<String>,

    /// Watch loopback too: it gives records and no findings, for both its ends are the pod
    #[arg(long)]
    pub loopback: bool,

    /// Read settings from this TOML file; `vethwatch config` prints one to start from
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How and where to write the results
    #[command(flatten)]
    pub results: ResultArgs,

    /// What is kept of the packets
    #[command(flatten)]
    pub keep: KeepArgs,

    /// Directory of a downwardAPI volume with files name, namespace, uid and labels [default:
    /// /etc/podinfo, where it is there]
    #[arg(long, value_name = "DIR")]
    pub podinfo: Option<PathBuf>,

    /// Bytes of each frame that are captured; segments of a veth may take 64 KiB [default: the
    /// configuration's, 65550]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(96..=262_144))]
    pub snaplen: Option<u32>,

    /// Kernel buffer of each interface in MiB [default: the configuration's, 4]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_023))]
    pub buffer: Option<u32>,

    /// Keep what containers usually do in this file, and go on from it at the next start [default:
    /// the configuration's, none]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// `vethwatch node`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch node
      Watch every container of this node.
  vethwatch node --events alert,coverage --write /var/lib/vethwatch/node.pcapng
      Write findings and what cannot be seen, and keep the last packets to replay them.

Run it in the host's network and process namespaces (hostNetwork and hostPID in Kubernetes). Needs
the capability NET_RAW; names come from the runtime's socket, ids from the containers' cgroups.
docs/attribution.md says how a packet's container is found.

SIGTERM ends it within two seconds; SIGHUP reads the file of --config again.")]
pub struct NodeArgs {
    /// Read settings from this TOML file; `vethwatch config` prints one to start from
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How and where to write the results
    #[command(flatten)]
    pub results: ResultArgs,

    /// What is kept of the packets
    #[command(flatten)]
    pub keep: KeepArgs,

    /// Bytes of each frame that are captured; segments of a veth may take 64 KiB [default: the
    /// configuration's, 65550]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(96..=262_144))]
    pub snaplen: Option<u32>,

    /// Kernel buffer of all interfaces together in MiB [default: the configuration's, 32]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_023))]
    pub buffer: Option<u32>,

    /// Keep what containers usually do in this file, and go on from it at the next start [default:
    /// the configuration's, none]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Where the runtimes are asked and the processes are found
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// What a live mode keeps of the packets.
#[derive(Args, Debug)]
pub struct KeepArgs {
    /// Keep what is captured in this file, as pcapng that `vethwatch replay` reads; full, FILE.1
    /// follows, and so on, in a later run too
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,

    /// Size of one kept file in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub write_mib: u64,

    /// Kept files, when full; beyond the room of so many the oldest is deleted
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub write_files: usize,
}

/// `vethwatch coverage`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch coverage
      List the containers of this node.
  vethwatch coverage --fail-on-blind --format eve
      For scripts: exit with 1 if traffic of a container passes unseen.

Run it in the host's network and process namespaces. Containers' names come from the runtime's
socket; without one, the id and the pod's UID still come from the cgroup.")]
pub struct CoverageArgs {
    /// How to write the list [default: table on a terminal, else eve]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub format: Option<String>,

    /// Exit with 1 if the traffic of a container, or a part of it, is not seen
    #[arg(long)]
    pub fail_on_blind: bool,

    /// Where the runtimes are asked and the processes are found
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Where containers are found out.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// The host's procfs, where it is mounted elsewhere
    #[arg(long, value_name = "FOLDER", default_value = "/proc")]
    pub procfs: PathBuf,

    /// A socket that speaks CRI; may be repeated [default: those of containerd, k3s, CRI-O and
    /// cri-dockerd]
    #[arg(long = "cri-socket", value_name = "PATH")]
    pub cri_sockets: Vec<PathBuf>,

    /// A socket that speaks Docker's API; may be repeated [default: those of Docker and Podman]
    #[arg(long = "docker-socket", value_name = "PATH")]
    pub docker_sockets: Vec<PathBuf>,
}

/// `vethwatch doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch doctor
      Look at everything that the modes need.
  vethwatch doctor --mode sidecar --format json
      For scripts: what matters to the sidecar, as JSON.

Run it where the mode is to run: in the same container, as the same user. It captures nothing, and
changes nothing.

Exit codes:
  0  the modes that were asked for can run fully
  1  they can run, with less than they could do
  2  one of them cannot run")]
pub struct DoctorArgs {
    /// Only what this mode needs; may be repeated [default: all]
    #[arg(long = "mode", value_name = "MODE")]
    pub modes: Vec<Mode>,

    /// How to write it [default: table on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<DoctorFormat>,

    /// Where the runtimes are asked and the processes are found
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// What vethwatch can run as.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Mode {
    /// Over files
    Replay,
    /// In a pod
    Sidecar,
    /// Over all containers of a host
    Node,
}

/// How the doctor speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    Table,
    /// One document
    Json,
}

/// `vethwatch config`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch config > vethwatch.toml
      Start a configuration file with every key at its default.
  vethwatch config --config vethwatch.toml
      Check a configuration file, and see what is in force with it.")]
pub struct ConfigArgs {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `vethwatch ads`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vethwatch ads
      List the detectors.
  vethwatch ads reverse_shell
      What it detects, how, what it cannot see, and what to do when it fires.")]
pub struct AdsArgs {
    /// Name of a detector
    pub detector: Option<String>,
}

/// The names of the output formats.
fn format_parser() -> PossibleValuesParser {
    let values = OUTPUTS.iter().map(|output| PossibleValue::new(output.name).help(output.about));
    PossibleValuesParser::new(values)
}

const SEVERITIES: [Severity; 5] =
    [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

fn severity_parser() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(SEVERITIES.map(Severity::as_str)).map(|name| {
        let known = SEVERITIES.into_iter().find(|severity| severity.as_str() == name);
        known.unwrap_or_default()
    })
}

/// Reads `NAME=ADDR[,ADDR…]`.
fn container(text: &str) -> Result<Named, String> {
    let form = "write it as NAME=ADDRESS[,ADDRESS…], for example web=10.244.1.7,fd00::7";
    let (name, addresses) = text.split_once('=').ok_or(form)?;
    if name.is_empty() {
        return Err(format!("the name is missing; {form}"));
    }
    let addresses = addresses
        .split(',')
        .map(|address| address.parse().map_err(|_| format!("`{address}` is no address; {form}")))
        .collect::<Result<Vec<IpAddr>, _>>()?;
    Ok(Named {
        name: name.into(),
        addresses,
        namespace: None,
        pod: None,
        pod_uid: None,
        owner: None,
        image: None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_containers() {
        let named = container("web=10.244.1.7,fd00::7").unwrap();
        assert_eq!((&*named.name, named.addresses.len()), ("web", 2));
        for (case, text) in [
            ("no address", "web"),
            ("no name", "=10.0.0.1"),
            ("an empty address", "web="),
            ("a range", "web=10.0.0.0/8"),
        ] {
            assert!(container(text).is_err(), "{case}");
        }
    }
}
