//! TODO
use super::Registration;
/// `--format table`
pub const REGISTRATION: Registration = Registration {
    name: "table",
    about: "a report for people",
    make: |options, writer| Box::new(super::eve::Eve::new(options.events, writer)),
};
