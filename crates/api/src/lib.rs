//! The gRPC interface, generated from `proto/`. Nothing here is written by hand.

/// The first version of the interface; `proto/didymium/v1/` documents it.
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        reason = "generated"
    )]
    tonic::include_proto!("didymium.v1");
}

/// Every service and message in the form that gRPC reflection serves.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Arrow Flight's service in the same form; its code is arrow-flight's.
pub const FLIGHT_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flight.bin"));
