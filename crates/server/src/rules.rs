//! What each call needs.

use crate::caller::Role;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Whoever reaches the server.
    Anybody,
    /// A caller with this role, or one that may do more.
    AtLeast(Role),
}

/// Every call that the server answers. Where a call reads or writes by what it holds, its service asks
/// for more.
pub(crate) const RULES: &[(&str, Rule)] = &[
    ("/didymium.v1.QueryService/Query", Rule::AtLeast(Role::Read)),
    (
        "/didymium.v1.QueryService/Execute",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.QueryService/Explain",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.QueryService/Cancel",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.QueryService/ListQueries",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.CatalogService/ListTables",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.CatalogService/GetTable",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.CatalogService/ListFunctions",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.CatalogService/CreateTable",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.CatalogService/AlterTable",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.CatalogService/DropTable",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.CatalogService/CreateView",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.CatalogService/DropView",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.IngestService/Ingest",
        Rule::AtLeast(Role::Write),
    ),
    (
        "/didymium.v1.JobService/CreateJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/UpdateJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/DeleteJob",
        Rule::AtLeast(Role::Schedule),
    ),
    ("/didymium.v1.JobService/GetJob", Rule::AtLeast(Role::Read)),
    (
        "/didymium.v1.JobService/ListJobs",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.JobService/PauseJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/ResumeJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/RunJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/BackfillJob",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/CancelJobRun",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.JobService/ListJobRuns",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.JobService/PreviewSchedule",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/didymium.v1.JobService/ReplayJobRun",
        Rule::AtLeast(Role::Schedule),
    ),
    (
        "/didymium.v1.AdminService/GetStatus",
        Rule::AtLeast(Role::Admin),
    ),
    (
        "/didymium.v1.AdminService/CreateToken",
        Rule::AtLeast(Role::Admin),
    ),
    (
        "/didymium.v1.AdminService/ListTokens",
        Rule::AtLeast(Role::Admin),
    ),
    (
        "/didymium.v1.AdminService/RevokeToken",
        Rule::AtLeast(Role::Admin),
    ),
    // It brings the token in its payload.
    (
        "/arrow.flight.protocol.FlightService/Handshake",
        Rule::Anybody,
    ),
    (
        "/arrow.flight.protocol.FlightService/ListFlights",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/GetFlightInfo",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/PollFlightInfo",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/GetSchema",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/DoGet",
        Rule::AtLeast(Role::Read),
    ),
    // It binds parameters, which reads, or loads, for which its service asks for more.
    (
        "/arrow.flight.protocol.FlightService/DoPut",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/DoExchange",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/DoAction",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/arrow.flight.protocol.FlightService/ListActions",
        Rule::AtLeast(Role::Read),
    ),
    ("/grpc.health.v1.Health/Check", Rule::Anybody),
    ("/grpc.health.v1.Health/Watch", Rule::Anybody),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Rule::AtLeast(Role::Read),
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Rule::AtLeast(Role::Read),
    ),
    ("/api/v1/sql", Rule::AtLeast(Role::Read)),
    ("/metrics", Rule::AtLeast(Role::Read)),
    ("/livez", Rule::Anybody),
    ("/readyz", Rule::Anybody),
    ("/version", Rule::Anybody),
];

/// The rule of a call by its path, and the path as it stands among them.
pub(crate) fn rule_of(path: &str) -> Option<(&'static str, Rule)> {
    RULES.iter().find(|(known, _)| *known == path).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use didymium_api::{DESCRIPTOR_SET, FLIGHT_DESCRIPTOR_SET};
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// The path of every call that reflection shows.
    fn calls() -> BTreeSet<String> {
        let sets = [
            DESCRIPTOR_SET,
            FLIGHT_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut calls = BTreeSet::new();
        for set in sets {
            let set = FileDescriptorSet::decode(set).expect("a descriptor set");
            for file in set.file {
                for service in &file.service {
                    let methods = service.method.iter();
                    calls.extend(methods.map(|method| {
                        let (package, service) = (file.package(), service.name());
                        format!("/{package}.{service}/{}", method.name())
                    }));
                }
            }
        }
        calls
    }

    #[test]
    fn every_call_has_a_rule() {
        let ruled: BTreeSet<String> = RULES.iter().map(|(path, _)| (*path).to_owned()).collect();
        let unruled: Vec<String> = calls().difference(&ruled).cloned().collect();
        assert!(unruled.is_empty(), "without a rule: {unruled:?}");
    }

    #[test]
    fn every_rule_of_grpc_is_for_a_call_that_there_is() {
        let calls = calls();
        let grpc = RULES.iter().filter(|(path, _)| path.contains('.'));
        let stale: Vec<&str> = grpc
            .map(|(path, _)| *path)
            .filter(|path| !calls.contains(*path))
            .collect();
        assert!(stale.is_empty(), "no such call: {stale:?}");
    }
}
