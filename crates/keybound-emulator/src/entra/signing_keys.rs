use crate::signing_key::SigningKey;
use keybound_core::lock;
use std::sync::Mutex;

/// The keys that sign the tokens of all tenants. All of them are published; the key that signs next is published before it signs, as
/// on Azure.
pub(crate) struct SigningKeys(Mutex<Ring>);

/// Oldest first.
#[derive(Clone)]
struct Ring {
    previous: Vec<SigningKey>,
    signing: SigningKey,
    next: SigningKey,
}

/// What a published key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// It signed tokens before.
    Previous,
    /// It signs tokens.
    Signing,
    /// It signs tokens after the next rotation.
    Next,
}

impl KeyUse {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::Signing => "signing",
            Self::Next => "next",
        }
    }
}

impl SigningKeys {
    /// The key that signs tokens.
    pub fn signing(&self) -> SigningKey {
        lock(&self.0).signing.clone()
    }

    /// All keys, oldest first.
    pub fn published(&self) -> Vec<(KeyUse, SigningKey)> {
        let ring = lock(&self.0);
        let previous = ring.previous.iter().map(|key| (KeyUse::Previous, key));
        let others = [(KeyUse::Signing, &ring.signing), (KeyUse::Next, &ring.next)];
        let all = previous.chain(others);
        all.map(|(purpose, key)| (purpose, key.clone())).collect()
    }

    /// Whether one of the keys signed this JWT. A key that was not generated yet has signed nothing.
    pub fn verifies(&self, token: &str) -> bool {
        let published = self.published();
        let mut generated = published.iter().filter_map(|(_, key)| key.generated());
        generated.any(|signer| signer.verifies(token))
    }

    /// The next key signs from now on, and a new one is the next. Of the previous keys the last 32 remain published.
    pub fn rotate(&self) {
        let mut ring = lock(&self.0);
        let next = std::mem::take(&mut ring.next);
        let signed = std::mem::replace(&mut ring.signing, next);
        ring.previous.push(signed);
        if ring.previous.len() > MAX_PREVIOUS {
            ring.previous.remove(0);
        }
    }

    /// Removes all previous keys.
    pub fn retire_previous(&self) {
        lock(&self.0).previous.clear();
    }

    /// Removes the key with this id, and returns whether there is one. If it is the one that signs, the next one signs from now on.
    pub fn retire(&self, id: &str) -> bool {
        let has_id = |key: &SigningKey| key.generated().is_some_and(|signer| signer.id() == id);
        let mut ring = lock(&self.0);
        if has_id(&ring.signing) {
            let next = std::mem::take(&mut ring.next);
            ring.signing = next;
            return true;
        }
        if has_id(&ring.next) {
            ring.next = SigningKey::default();
            return true;
        }
        let position = ring.previous.iter().position(has_id);
        position
            .map(|position| ring.previous.remove(position))
            .is_some()
    }
}

impl Default for SigningKeys {
    fn default() -> Self {
        Self(Mutex::new(Ring {
            previous: Vec::new(),
            signing: SigningKey::default(),
            next: SigningKey::default(),
        }))
    }
}

/// A separate list of the same keys.
impl Clone for SigningKeys {
    fn clone(&self) -> Self {
        Self(Mutex::new(lock(&self.0).clone()))
    }
}

const MAX_PREVIOUS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn signed(keys: &SigningKeys) -> (String, String) {
        let key = keys.signing();
        let signer = key.get().await.unwrap();
        (signer.id().to_owned(), signer.sign(&json!({})).unwrap())
    }

    fn uses(keys: &SigningKeys) -> Vec<&'static str> {
        let published = keys.published();
        published
            .iter()
            .map(|(key_use, _)| key_use.as_str())
            .collect()
    }

    #[tokio::test]
    async fn verifies_tokens_of_previous_keys_until_they_are_retired() {
        let keys = SigningKeys::default();
        assert_eq!(uses(&keys), ["signing", "next"]);
        let (first, by_first) = signed(&keys).await;
        let next = keys.published().pop().unwrap().1;
        let next = next.get().await.unwrap().id().to_owned();
        keys.rotate();
        let (second, by_second) = signed(&keys).await;
        assert_eq!(second, next, "it was published before");
        assert_eq!(uses(&keys), ["previous", "signing", "next"]);
        assert!(keys.verifies(&by_first) && keys.verifies(&by_second));
        assert!(keys.retire(&first) && !keys.retire(&first));
        assert!(!keys.verifies(&by_first) && keys.verifies(&by_second));
        // The key that signs: an emergency.
        assert!(keys.retire(&second));
        let (_, by_third) = signed(&keys).await;
        assert!(!keys.verifies(&by_second) && keys.verifies(&by_third));
        keys.rotate();
        keys.retire_previous();
        assert!(!keys.verifies(&by_third));
        assert_eq!(uses(&keys), ["signing", "next"]);
    }

    #[test]
    fn publishes_a_limited_number_of_keys() {
        let keys = SigningKeys::default();
        for _ in 0..100 {
            keys.rotate();
        }
        assert_eq!(keys.published().len(), MAX_PREVIOUS + 2);
    }
}
