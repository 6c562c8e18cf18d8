//! How long requests may take, and how often they are tried again.

use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, RetryConfig};
use tokio::time::timeout;

/// What one request carries at most, within [`Patience::request`]. Larger ones have more time.
pub(crate) const PIECE_BYTES: usize = 8 << 20;

/// The status of an answer that has a part of an object.
const PARTIAL_CONTENT: u16 = 206;

/// The limits of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Patience {
    /// For one request with its answer, if it carries at most [`PIECE_BYTES`].
    pub(crate) request: Duration,
    /// How often a request is tried again.
    pub(crate) n_retries: usize,
    /// How long after the first try the last one may begin.
    pub(crate) retrying: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // A signature is good for five minutes, and repeated requests keep theirs.
        Self { request: Duration::from_secs(30), n_retries: 10, retrying: Duration::from_secs(180) }
    }
}

impl Patience {
    /// For one request that carries so many bytes.
    fn for_bytes(self, bytes: usize) -> Duration {
        let pieces = bytes.div_ceil(PIECE_BYTES).max(1);
        self.request.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))
    }

    /// For everything that one operation does, whatever happens. It stops what no limit of a request reaches.
    pub(crate) fn in_all(self, bytes: usize) -> Duration {
        self.retrying.saturating_add(self.for_bytes(bytes).saturating_mul(2))
    }

    pub(crate) fn retry_config(self) -> RetryConfig {
        RetryConfig { max_retries: self.n_retries, retry_timeout: self.retrying, ..Default::default() }
    }

    /// How long to wait before a request is tried for the `n`th time again, counted from 0.
    pub(crate) fn pause(n: usize) -> Duration {
        Duration::from_millis(100 << n.min(7))
    }
}

/// Makes clients whose requests end in time, as their size allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector(pub(crate) Patience);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client { client, patience: self.0 }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    patience: Patience,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limit = self.patience.for_bytes(request.body().content_length());
        let is_for_part = request.headers().contains_key("range");
        let answered = timeout(limit, async {
            let mut answer = self.client.execute(request).await?;
            // rclone says of a part which one it is, and not that it is one.
            if is_for_part && answer.status() == 200 && answer.headers().contains_key("content-range") {
                *answer.status_mut() = PARTIAL_CONTENT.try_into().unwrap_or(answer.status());
            }
            // Read here, an answer that breaks off is a request that failed, and tried again as such. Longer
            // ones, and those without a length, are read as they come.
            match length(&answer) {
                Some(bytes) if bytes <= PIECE_BYTES => {
                    let (head, body) = answer.into_parts();
                    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body.bytes().await?)))
                }
                _ => Ok(answer),
            }
        });
        answered.await.unwrap_or_else(|elapsed| Err(HttpError::new(HttpErrorKind::Timeout, elapsed)))
    }
}

fn length(answer: &HttpResponse) -> Option<usize> {
    answer.headers().get("content-length")?.to_str().ok()?.parse().ok()
}
