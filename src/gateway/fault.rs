//! Whose fault an error of pingora's is, and which answer it makes.
//!
//! A breaker and an ejection must only ever hear of an upstream's faults: were a client's counted, one anonymous client
//! could take a service away from everybody.

use pingora::{
    Error, ErrorSource,
    ErrorType::{
        self, ConnectTimedout, ConnectionClosed, HandshakeError, InvalidCert, ReadError,
        ReadTimedout,
    },
    proxy::Session,
};

use crate::{answer::Cause, upstream::Ending};

/// An error, understood.
pub(super) struct Fault {
    pub(super) cause: Cause,
    /// What breaker and ejection are told.
    pub(super) ending: Ending,
}

/// Why no connection was made.
pub(super) fn connect(error: &Error) -> Cause {
    match error.etype() {
        ConnectTimedout => Cause::ConnectTimeout,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | InvalidCert
        | HandshakeError => Cause::UpstreamTls,
        _ => Cause::ConnectFailed,
    }
}

/// Why a request broke off after a connection was there.
pub(super) fn of(session: &mut Session, error: &Error) -> Fault {
    let neutral = |cause| Fault { cause, ending: Ending::Aborted };
    let failure = |cause| Fault { cause, ending: Ending::Failed };
    match error.esource() {
        ErrorSource::Downstream => match error.etype() {
            ErrorType::HTTPStatus(413) => neutral(Cause::BodyTooLarge),
            ReadTimedout => neutral(Cause::BodyTimeout),
            ConnectionClosed | ReadError | ErrorType::WriteError | ErrorType::WriteTimedout => {
                neutral(Cause::ClientClosed)
            }
            _ => neutral(Cause::BadRequest("the request's body is malformed")),
        },
        ErrorSource::Upstream => match error.etype() {
            // The upstream waits for a body that the client does not send; the client's wait may end later than ours.
            ReadTimedout if !session.as_downstream_mut().is_body_done() => {
                neutral(Cause::BodyTimeout)
            }
            ReadTimedout | ErrorType::WriteTimedout => failure(Cause::UpstreamTimeout),
            ErrorType::InvalidHTTPHeader | ErrorType::H2Error | ErrorType::InvalidH2 => {
                failure(Cause::UpstreamProtocol)
            }
            _ => failure(Cause::UpstreamReset),
        },
        ErrorSource::Internal | ErrorSource::Unset => neutral(Cause::Internal),
    }
}

/// Whether the connection was closed on us, as happens to one that was kept for reuse.
pub(super) fn is_dead_connection(error: &Error) -> bool {
    matches!(
        error.etype(),
        ConnectionClosed | ReadError | ErrorType::WriteError | ErrorType::H2Error
    )
}
