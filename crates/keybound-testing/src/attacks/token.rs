use super::{CLIENT, RESOURCE, TENANT, TestIssuer};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Padding;
use openssl::sha::{sha1, sha256};
use openssl::sign::Signer;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How a token is made. The default one is valid, of version 2, and bound to the certificate `client`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TokenRecipe {
    /// 1 or 2.
    pub version: u8,
    /// Members of the header that differ; null removes one.
    pub header: Map<String, Value>,
    /// Claims that differ; null removes one. `{"now": 60}` is a date one minute from now.
    pub claims: Map<String, Value>,
    /// The whole header, as text.
    pub header_text: Option<String>,
    /// Text that is added before the end of the claims.
    pub claims_suffix: String,
    /// The whole claims, as text.
    pub claims_text: Option<String>,
    /// The name of the certificate to which it is bound.
    pub bound_to: String,
    /// The form of the thumbprint.
    pub thumbprint: ThumbprintForm,
    /// The id of the key that signs.
    pub key: String,
    /// The key id in the header, if it is not that of the key.
    pub kid: Option<String>,
    /// How it is signed.
    pub sign: SignatureForm,
    /// What is done with the whole token at last.
    pub edit: Vec<Edit>,
}

/// The form of the thumbprint in `cnf`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ThumbprintForm {
    /// As specified.
    #[default]
    Base64Url,
    /// With padding.
    Padded,
    /// With the other alphabet.
    Standard,
    /// In hexadecimal.
    Hex,
    /// The first letter in the other case.
    OtherCase,
    /// Another text that decodes to the same bytes.
    TrailingBits,
    /// Of SHA-1.
    Sha1,
    /// With a space before it.
    Space,
    /// With the last character missing.
    Short,
    /// With one character more.
    Long,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureForm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    Rs256,
    /// With SHA-512.
    Rs512,
    /// With SHA-1.
    Rs1,
    /// RSASSA-PSS.
    Ps256,
    /// HMAC whose key is the public key in PEM.
    HmacOfPem,
    /// HMAC whose key is the modulus.
    HmacOfModulus,
    /// HMAC with an empty key.
    HmacOfNothing,
    /// Without a signature.
    Empty,
    /// As many zeros as the modulus has.
    Zeros,
    /// The number one.
    One,
    /// Without its last byte.
    Short,
    /// With one byte more.
    Long,
    /// Over the claims only.
    OfClaims,
    /// A signature of another token.
    OfOther,
}

/// A change of a whole token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Edit {
    /// Adds text at the end.
    Append(String),
    /// Adds text at the start.
    Prepend(String),
    /// Replaces a part, counted from 0.
    Part(usize, String),
    /// Adds text at the end of a part.
    AppendToPart(usize, String),
    /// Removes a part.
    RemovePart(usize),
    /// Exchanges the last character of a part for one that decodes to the same bytes.
    TrailingBits(usize),
    /// Adds claims of another resource after signing.
    ReplaceClaims(Map<String, Value>),
    /// Repeats a part until the token has this length.
    Grow(usize),
    /// Wraps the token in another one, as its payload.
    Nest(),
}

impl Default for TokenRecipe {
    fn default() -> Self {
        Self {
            version: 2,
            header: Map::new(),
            claims: Map::new(),
            header_text: None,
            claims_suffix: String::new(),
            claims_text: None,
            bound_to: "client".to_owned(),
            thumbprint: ThumbprintForm::default(),
            key: "any".to_owned(),
            kid: None,
            sign: SignatureForm::default(),
            edit: Vec::new(),
        }
    }
}

impl TokenRecipe {
    /// Makes the token.
    pub fn make(&self, issuer: &TestIssuer) -> String {
        let header = self.header_text.clone();
        let header = header.unwrap_or_else(|| Value::from(self.header()).to_string());
        let claims = self.claims_text.clone();
        let claims = claims.unwrap_or_else(|| {
            let claims = Value::from(self.claims(issuer, &self.claims)).to_string();
            let open = claims.strip_suffix('}').unwrap();
            format!("{open}{}}}", self.claims_suffix)
        });
        let key = issuer.key(&self.key);
        let token = signed(key, self.sign, &header, &claims);
        self.edit
            .iter()
            .fold(token, |token, edit| self.edited(issuer, &token, edit))
    }

    fn header(&self) -> Map<String, Value> {
        let kid = self.kid.as_ref().unwrap_or(&self.key);
        merged(
            json!({ "typ": "JWT", "alg": "RS256", "x5t": kid, "kid": kid }),
            &self.header,
        )
    }

    fn claims(&self, issuer: &TestIssuer, changes: &Map<String, Value>) -> Map<String, Value> {
        let now = issuer.now();
        let mut claims = json!({
            "aud": RESOURCE,
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 3600,
            "aio": "k2BgYPD7/PnHkqs5K1TPXo2T",
            "appidacr": "2",
            "idtyp": "app",
            "oid": "0b1ec700-1234-4321-8888-0123456789ab",
            "rh": "1.AQ8A",
            "roles": ["Orders.Read.All", "Orders.Write"],
            "sub": "0b1ec700-1234-4321-8888-0123456789ab",
            "tid": TENANT,
            "uti": "p3nXq1yDVk6Zd8Jt",
            "xms_tbflags": 2,
            "xms_mirid": "/subscriptions/5/resourcegroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
        });
        let version = match self.version {
            1 => json!({
                "iss": format!("https://sts.windows.net/{TENANT}/"), "appid": CLIENT, "ver": "1.0",
            }),
            _ => json!({
                "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "azp": CLIENT, "azpacr": "2", "ver": "2.0",
            }),
        };
        let object = claims.as_object_mut().unwrap();
        object.extend(version.as_object().unwrap().clone());
        if let Some(der) = issuer.certificates.der(&self.bound_to) {
            object.insert(
                "cnf".into(),
                json!({ "x5t#S256": self.thumbprint.of(&der) }),
            );
        }
        let mut merged = merged(claims, changes);
        for value in merged.values_mut() {
            if let Some(distance) = value.get("now").and_then(Value::as_i64) {
                *value = (now + distance).into();
            }
        }
        merged
    }

    fn edited(&self, issuer: &TestIssuer, token: &str, edit: &Edit) -> String {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        match edit {
            Edit::Append(text) => return format!("{token}{text}"),
            Edit::Prepend(text) => return format!("{text}{token}"),
            Edit::Part(index, text) => parts[*index].clone_from(text),
            Edit::AppendToPart(index, text) => parts[*index] += text,
            Edit::RemovePart(index) => {
                parts.remove(*index);
            }
            Edit::TrailingBits(index) => parts[*index] = with_trailing_bits(&parts[*index]),
            Edit::ReplaceClaims(changes) => {
                let changes = merged(self.claims.clone().into(), changes);
                let claims = Value::from(self.claims(issuer, &changes)).to_string();
                parts[1] = URL_SAFE_NO_PAD.encode(claims);
            }
            Edit::Grow(length) => {
                let missing = length.saturating_sub(token.len());
                parts[1] += &"A".repeat(missing);
            }
            Edit::Nest() => {
                return signed(
                    issuer.key(&self.key),
                    self.sign,
                    &Value::from(self.header()).to_string(),
                    token,
                );
            }
        }
        parts.join(".")
    }
}

impl ThumbprintForm {
    fn of(self, der: &[u8]) -> String {
        let hash = sha256(der);
        let text = URL_SAFE_NO_PAD.encode(hash);
        match self {
            Self::Base64Url => text,
            Self::Padded => URL_SAFE.encode(hash),
            // Differs for certain: the alphabets differ in two characters only.
            Self::Standard => STANDARD.encode(hash),
            Self::Hex => hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::OtherCase => {
                let letter = text.find(|char: char| char.is_ascii_alphabetic()).unwrap();
                let mut bytes = text.into_bytes();
                bytes[letter] ^= 0x20;
                String::from_utf8(bytes).unwrap()
            }
            Self::TrailingBits => with_trailing_bits(&text),
            Self::Sha1 => URL_SAFE_NO_PAD.encode(sha1(der)),
            Self::Space => format!(" {text}"),
            Self::Short => text[..text.len() - 1].to_owned(),
            Self::Long => text + "A",
        }
    }
}

fn signed(key: &PKey<Private>, form: SignatureForm, header: &str, claims: &str) -> String {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = signature(key, form, &text);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(key: &PKey<Private>, form: SignatureForm, text: &str) -> Vec<u8> {
    let rsa = |digest: MessageDigest, padding: Padding, text: &str| {
        let mut signer = Signer::new(digest, key).unwrap();
        signer.set_rsa_padding(padding).unwrap();
        signer.sign_oneshot_to_vec(text.as_bytes()).unwrap()
    };
    let rs256 = |text: &str| rsa(MessageDigest::sha256(), Padding::PKCS1, text);
    let hmac = |secret: &[u8]| {
        let secret = PKey::hmac(secret).unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &secret).unwrap();
        signer.sign_oneshot_to_vec(text.as_bytes()).unwrap()
    };
    match form {
        SignatureForm::Rs256 => rs256(text),
        SignatureForm::Rs512 => rsa(MessageDigest::sha512(), Padding::PKCS1, text),
        SignatureForm::Rs1 => rsa(MessageDigest::sha1(), Padding::PKCS1, text),
        SignatureForm::Ps256 => rsa(MessageDigest::sha256(), Padding::PKCS1_PSS, text),
        SignatureForm::HmacOfPem => hmac(&key.public_key_to_pem().unwrap()),
        SignatureForm::HmacOfModulus => hmac(&key.rsa().unwrap().n().to_vec()),
        SignatureForm::HmacOfNothing => hmac(b"\0"),
        SignatureForm::Empty => vec![],
        SignatureForm::Zeros => vec![0; 256],
        SignatureForm::One => [vec![0; 255], vec![1]].concat(),
        SignatureForm::Short => rs256(text)[..255].to_vec(),
        SignatureForm::Long => [rs256(text), vec![0]].concat(),
        SignatureForm::OfClaims => rs256(text.split_once('.').unwrap().1),
        SignatureForm::OfOther => rs256("e30.e30"),
    }
}

fn merged(base: Value, changes: &Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut merged) = base else {
        unreachable!("it is an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// A text that decodes to the same bytes if a decoder ignores the unused bits of the last character.
fn with_trailing_bits(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(text.len() % 4, 0, "the last character has no unused bits");
    let (rest, last) = text.split_at(text.len() - 1);
    let value = ALPHABET.iter().position(|char| *char == last.as_bytes()[0]);
    format!("{rest}{}", char::from(ALPHABET[value.unwrap() ^ 1]))
}
