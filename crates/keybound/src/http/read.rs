use crate::transport::transport_error;
use keybound_core::{Error, Result, Stage, without_bom};
use keybound_tls::ResponseBody;
use serde::de::DeserializeOwned;

/// Reads the JSON of an answer.
pub trait ReadJson: sealed::Sealed {
    /// Reads the body to its end, at most `limit` bytes, as JSON.
    ///
    /// # Errors
    /// Of stage resource: [`ErrorKind::AnswerTooLarge`](crate::ErrorKind::AnswerTooLarge) where it is longer,
    /// [`ErrorKind::InvalidAnswer`](crate::ErrorKind::InvalidAnswer) where it is not the JSON that `T` wants, and those
    /// of a connection that breaks. None repeats what the body said.
    fn json<T: DeserializeOwned>(self, limit: usize) -> impl Future<Output = Result<T>> + Send;
}

impl ReadJson for ResponseBody {
    async fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        let read = self.collect(limit).await;
        let body = read.map_err(|error| transport_error(Stage::Resource, error))?;
        from_json(&body)
    }
}

/// Reads JSON. The error says where it is wrong and not what stands there, which may be a secret.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(without_bom(body)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message =
            format!("the answer is not the JSON that is wanted (line {line}, column {column})");
        Error::invalid_answer(Stage::Resource, message)
    })
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for keybound_tls::ResponseBody {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::ErrorKind;
    use std::error::Error as _;

    #[tokio::test]
    async fn json_is_read_within_its_limit() {
        let body = || ResponseBody::full(r#"{"a":1}"#);
        let read: serde_json::Value = body().json(7).await.unwrap();
        assert_eq!(read["a"], 1);
        let error = body().json::<serde_json::Value>(6).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AnswerTooLarge);
    }

    #[tokio::test]
    async fn a_byte_order_mark_before_json_is_ignored() {
        let read = ResponseBody::full("\u{feff}{\"a\":1}").json(100).await;
        let read: serde_json::Value = read.unwrap();
        assert_eq!(read["a"], 1);
    }

    #[tokio::test]
    async fn secrets_stay_secret_where_the_json_is_another_one() {
        let body = ResponseBody::full(r#"{"value":"swordfish"}"#);
        let error = body
            .json::<std::collections::HashMap<String, u32>>(100)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::InvalidAnswer, Stage::Resource)
        );
        let shown = format!("{error} {error:?} {:?}", error.source());
        assert!(
            shown.contains("column 20") && !shown.contains("swordfish"),
            "{shown}"
        );
    }
}
