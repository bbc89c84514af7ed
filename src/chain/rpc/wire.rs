//! The JSON-RPC envelope as bitcoind writes it: errors come with HTTP 500, 404 or 200, some
//! refusals without any JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Answer;
use crate::chain::ChainError;

/// `RPC_IN_WARMUP`.
const WARMING_UP: i64 = -28;
/// `RPC_INVALID_ADDRESS_OR_KEY`, used for unknown blocks and transactions.
pub(in crate::chain) const UNKNOWN: i64 = -5;
/// `RPC_INVALID_PARAMETER`, used for a height above the tip.
pub(in crate::chain) const OUT_OF_RANGE: i64 = -8;

/// An error that the node answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Fault {
    /// Bitcoin Core's `RPCErrorCode`.
    pub code: i64,
    /// Its words.
    pub message: String,
}

impl Fault {
    /// The error of a caller for whom this is not an answer.
    pub fn into_error(self, method: &str) -> ChainError {
        match self.code {
            WARMING_UP => ChainError::WarmingUp { detail: self.message },
            code => ChainError::Refused { method: method.to_owned(), code, detail: self.message },
        }
    }
}

/// Whether an error code only says "no such thing".
pub(super) fn is_plain_no(code: i64) -> bool {
    matches!(code, UNKNOWN | OUT_OF_RANGE)
}

/// One answer, alone or in a batch.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Reply<T> {
    #[serde(default)]
    pub(super) id: Value,
    #[serde(default = "Given::missing")]
    result: Given<T>,
    #[serde(default)]
    pub(super) error: Option<Fault>,
}

/// `null` may be a result of its own, so a missing result must look different.
pub(super) struct Given<T>(Option<T>);

impl<T> Given<T> {
    fn missing() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(Self)
    }
}

impl<T: DeserializeOwned> Reply<T> {
    /// The inner result is the node's answer, the outer one says whether it can be understood.
    pub(super) fn into_result(self) -> Result<Result<T, Fault>, serde_json::Error> {
        match (self.error, self.result.0) {
            (Some(fault), _) => Ok(Err(fault)),
            (None, Some(result)) => Ok(Ok(result)),
            (None, None) => serde_json::from_value(Value::Null).map(Ok),
        }
    }
}

/// Puts the replies to a batch into the order of the calls, whose ids count from 0.
pub(super) fn in_order<T: DeserializeOwned>(
    method: &str,
    replies: Vec<Reply<T>>,
    count: usize,
) -> Result<Vec<Result<T, Fault>>, ChainError> {
    let mut ordered: Vec<_> = (0..count).map(|_| None).collect();
    for reply in replies {
        let id = reply.id.as_u64().and_then(|id| usize::try_from(id).ok());
        let result = reply.into_result().map_err(|error| unusable(method, &error))?;
        if let Some(place) = id.and_then(|id| ordered.get_mut(id)) {
            *place = Some(result);
        }
    }
    let missing = || unusable(method, &"an answer of the batch is missing");
    ordered.into_iter().collect::<Option<_>>().ok_or_else(missing)
}

pub(in crate::chain) fn unusable(method: &str, detail: &dyn std::fmt::Display) -> ChainError {
    ChainError::Unusable { method: method.to_owned(), detail: detail.to_string() }
}

/// What a body that is not the expected JSON means, together with its status.
pub(super) fn not_a_reply(method: &str, answer: &Answer, error: &serde_json::Error) -> ChainError {
    let text: String = String::from_utf8_lossy(&answer.body).trim().chars().take(200).collect();
    match answer.status.as_u16() {
        401 => ChainError::Unauthorized { detail: "the login is refused".to_owned() },
        403 => ChainError::Unauthorized {
            detail: format!(
                "{method} is forbidden; check rpcallowip and rpcwhitelist in bitcoin.conf"
            ),
        },
        503 => ChainError::Busy { detail: text },
        200 => unusable(method, error),
        status => unusable(method, &format!("HTTP {status}: {text}")),
    }
}
