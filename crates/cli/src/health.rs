//! `didymium health`: whether a server takes queries, for those who watch over it.

use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::args::ServerArgs;
use crate::failure::Failure;
use crate::target::server;

/// Who has not answered by then does not answer; a probe that hangs tells nobody anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends well if the server serves, with 1 if it says that it does not, with 3 if it says nothing.
pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let silent = Failure::unreachable(format!(
        "no answer from {} within {} s",
        args.url,
        PATIENCE.as_secs()
    ));
    let status = tokio::time::timeout(PATIENCE, status(&args));
    match status.await.unwrap_or(Err(silent))? {
        ServingStatus::Serving => {
            #[expect(clippy::print_stdout, reason = "what the command is for")]
            {
                println!("serving");
            }
            Ok(())
        }
        other => Err(Failure::own(format!(
            "the server answers {}",
            other.as_str_name()
        ))),
    }
}

async fn status(args: &ServerArgs) -> Result<ServingStatus, Failure> {
    let connection = server(args).await?;
    // No service's name stands for the whole server.
    let request = HealthCheckRequest::default();
    let answer = HealthClient::new(connection).check(request).await?;
    Ok(answer.into_inner().status())
}
