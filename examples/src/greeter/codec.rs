use bytes::{Buf as _, BufMut as _};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A message: plain text.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "one value that needs a type")]
pub struct Text(pub String);

impl Text {
    /// The codec of messages.
    pub fn codec() -> TextCodec {
        TextCodec(())
    }
}

/// UTF-8 without framing.
#[derive(Clone, Copy, Debug)]
pub struct TextCodec(());

impl Codec for TextCodec {
    type Encode = Text;
    type Decode = Text;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for TextCodec {
    type Item = Text;
    type Error = Status;

    fn encode(&mut self, text: Text, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(text.0.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = Text;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Text>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        String::from_utf8(bytes.into())
            .map(|text| Some(Text(text)))
            .map_err(|_| Status::invalid_argument("the message is not UTF-8"))
    }
}
