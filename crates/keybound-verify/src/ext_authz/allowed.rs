//! The message that allows a request. It is written by hand: a tree of messages has an allocation for each name and value.
use super::messages::OVERWRITE_IF_EXISTS_OR_ADD;
use crate::check::{IDENTITY_HEADERS, IdentityValues};
use prost::{encode_length_delimiter, length_delimiter_len};

/// Appends the [`CheckResponse`](super::messages::CheckResponse). Headers that are empty here are removed, as are those of the token.
pub(super) fn write_allowed(values: &IdentityValues<'_>, message: &mut Vec<u8>) {
    let headers = || {
        let named = IDENTITY_HEADERS.iter().zip(values);
        named.map(|(name, value)| Header { name, value })
    };
    let length = field_length(TOKEN.len()) + headers().map(|header| header.length()).sum::<usize>();
    start(message, STATUS, 0);
    start(message, OK_RESPONSE, length);
    write(message, HEADERS_TO_REMOVE, TOKEN);
    for header in headers() {
        header.write(message);
    }
}

/// A header that is set, or removed if it is empty.
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

impl Header<'_> {
    /// Of its field in `OkHttpResponse`.
    fn length(&self) -> usize {
        match self.value.is_empty() {
            true => field_length(self.name.len()),
            false => field_length(self.option_length()),
        }
    }

    /// Of its `HeaderValueOption`.
    fn option_length(&self) -> usize {
        field_length(self.header_length()) + APPEND_ACTION.len()
    }

    /// Of its `HeaderValue`.
    fn header_length(&self) -> usize {
        field_length(self.name.len()) + field_length(self.value.len())
    }

    fn write(&self, message: &mut Vec<u8>) {
        if self.value.is_empty() {
            write(message, HEADERS_TO_REMOVE, self.name);
            return;
        }
        start(message, HEADERS, self.option_length());
        start(message, HEADER, self.header_length());
        write(message, KEY, self.name);
        write(message, VALUE, self.value);
        message.extend_from_slice(&APPEND_ACTION);
    }
}

/// Of a field with contents of this length.
fn field_length(contents: usize) -> usize {
    1 + length_delimiter_len(contents) + contents
}

fn write(message: &mut Vec<u8>, field: u8, text: &str) {
    start(message, field, text.len());
    message.extend_from_slice(text.as_bytes());
}

/// Writes the start of a field with contents of this length.
fn start(message: &mut Vec<u8>, field: u8, length: usize) {
    message.push(field << 3 | LENGTH_DELIMITED);
    match u8::try_from(length) {
        Ok(short @ ..0x80) => message.push(short),
        // A vector has room for any length.
        _ => _ = encode_length_delimiter(length, message),
    }
}

const TOKEN: &str = "authorization";
/// Fields of `CheckResponse`.
const STATUS: u8 = 1;
const OK_RESPONSE: u8 = 3;
/// Fields of `OkHttpResponse`.
const HEADERS: u8 = 2;
const HEADERS_TO_REMOVE: u8 = 5;
/// Fields of `HeaderValueOption`: the header, and the whole of the other one.
const HEADER: u8 = 1;
const APPEND_ACTION: [u8; 2] = [3 << 3, OVERWRITE_IF_EXISTS_OR_ADD as u8];
/// Fields of `HeaderValue`.
const KEY: u8 = 1;
const VALUE: u8 = 2;
const LENGTH_DELIMITED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::super::messages::{
        CheckResponse, HeaderValueOption, HttpResponse, OkHttpResponse, RpcStatus,
    };
    use super::*;
    use prost::Message as _;

    #[test]
    fn message_is_that_of_protocol_buffers() {
        // Lengths of one, two and three bytes.
        for length in [0, 1, 80, 127, 128, 200, 16_300, 16_384, 100_000] {
            let long = "r".repeat(length);
            let values: IdentityValues<'_> =
                ["client", "tenant", "", &long, "", "app", ""].map(Into::into);
            let mut ok = OkHttpResponse::default();
            ok.headers_to_remove.push("authorization".to_owned());
            for (name, value) in IDENTITY_HEADERS.iter().zip(&values) {
                match value.is_empty() {
                    true => ok.headers_to_remove.push((*name).to_owned()),
                    false => {
                        let header = HeaderValueOption::overwrite(name, value.to_string());
                        ok.headers.push(header);
                    }
                }
            }
            let expected = CheckResponse {
                status: Some(RpcStatus::default()),
                http_response: Some(HttpResponse::Ok(ok)),
            };
            let mut message = Vec::new();
            write_allowed(&values, &mut message);
            assert_eq!(CheckResponse::decode(&*message), Ok(expected), "{length}");
        }
    }
}
