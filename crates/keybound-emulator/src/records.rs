use crate::faults::Leg;
use crate::record::{Record, shorten};
use keybound_core::lock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// The records of the last requests, and the number of requests on each leg.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    last_sequence: u64,
    records: VecDeque<Record>,
    counts: BTreeMap<&'static str, u64>,
}

impl Records {
    /// Adds the record of a request and returns its sequence number, for [`finish`](Self::finish).
    pub fn begin(&self, mut record: Record) -> u64 {
        let mut log = lock(&self.0);
        log.last_sequence += 1;
        record.sequence = log.last_sequence;
        *log.counts.entry(record.leg).or_default() += 1;
        if log.records.len() == MAX_RECORDS {
            log.records.pop_front();
        }
        log.records.push_back(record);
        log.last_sequence
    }

    /// Counts a new TLS connection, under the leg of its handshakes.
    pub fn count_connection(&self, leg: Leg) {
        *lock(&self.0).counts.entry(leg.as_str()).or_default() += 1;
    }

    /// Adds the response to the record of a request, if it is still stored.
    pub fn finish(
        &self,
        sequence: u64,
        status: Option<u16>,
        notes: BTreeMap<&'static str, String>,
    ) {
        // Logged without the lock: a subscriber may read the records.
        if let Some(record) = self.complete(sequence, status, notes) {
            record.log();
        }
    }

    fn complete(
        &self,
        sequence: u64,
        status: Option<u16>,
        notes: BTreeMap<&'static str, String>,
    ) -> Option<Record> {
        let mut log = lock(&self.0);
        let found = |record: &&mut Record| record.sequence == sequence;
        let record = log.records.iter_mut().rev().find(found)?;
        record.status = status;
        record.notes = notes
            .into_iter()
            .map(|(name, value)| (name, shorten(&value)))
            .collect();
        Some(record.clone())
    }

    /// The last 1000 requests, oldest first.
    pub fn all(&self) -> Vec<Record> {
        lock(&self.0).records.iter().cloned().collect()
    }

    /// The number of requests on each leg since the start or the last [`clear`](Self::clear), stored or not.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).counts.clone()
    }

    /// Removes all records. The numbering continues.
    pub fn clear(&self) {
        let mut log = lock(&self.0);
        log.records.clear();
        log.counts.clear();
    }
}

const MAX_RECORDS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Action;
    use crate::peer::Peer;
    use crate::record::MAX_TEXT_BYTES;
    use bytes::Bytes;
    use http::Request;

    fn peer() -> Peer {
        Peer {
            client_certificate: Some(b"der".to_vec()),
            tls_version: Some("TLSv1.2"),
        }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Bytes::from_static(b"attestation_token=s3cret"))
            .unwrap()
    }

    #[test]
    fn records_contain_no_secrets() {
        let records = Records::default();
        let uri = "https://127.0.0.1:1/secrets/a?api-version=7.4&access_token=s3cret&s3cret";
        let headers = [
            ("authorization", "mtls_pop s3cret"),
            ("cookie", "s3cret"),
            ("x-ms-tokenboundauth", "true"),
        ];
        records.begin(Record::new(
            0,
            Leg::Vault,
            &peer(),
            &request(uri, &headers),
            None,
        ));
        let bare = request("/", &[("authorization", "s3cret")]);
        records.begin(Record::new(0, Leg::Vault, &peer(), &bare, None));
        let stored = records.all();
        assert_eq!(stored[0].query, "api-version=7.4&access_token=…&…");
        assert_eq!(stored[0].headers["authorization"], "mtls_pop …");
        assert_eq!(stored[0].headers["x-ms-tokenboundauth"], "true");
        assert_eq!(stored[1].headers["authorization"], "…");
        let shown = format!("{stored:?}{}", serde_json::to_string(&stored).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn limits_records_and_not_counts() {
        let records = Records::default();
        for _ in 0..MAX_RECORDS + 5 {
            records.begin(Record::new(
                0,
                Leg::Token,
                &peer(),
                &request("/", &[]),
                None,
            ));
        }
        let stored = records.all();
        assert_eq!(stored.len(), MAX_RECORDS);
        assert_eq!(stored[0].sequence, 6);
        assert_eq!(records.counts()["token"], MAX_RECORDS as u64 + 5);
        records.clear();
        assert!(records.all().is_empty() && records.counts().is_empty());
    }

    #[test]
    fn adds_the_response_to_the_record() {
        let records = Records::default();
        let first = records.begin(Record::new(
            0,
            Leg::Token,
            &peer(),
            &request("/", &[]),
            Some(&Action::NoCnf),
        ));
        records.begin(Record::new(
            0,
            Leg::Token,
            &peer(),
            &request("/", &[]),
            None,
        ));
        records.finish(
            first,
            Some(400),
            BTreeMap::from([("refused", "é".repeat(1024))]),
        );
        let stored = records.all();
        assert_eq!((stored[0].status, stored[1].status), (Some(400), None));
        assert_eq!(stored[0].fault.as_deref(), Some("no-cnf"));
        assert!(stored[0].notes["refused"].len() <= MAX_TEXT_BYTES + 3);
        assert_eq!(stored[0].client_certificate.as_ref().unwrap().len(), 43);
    }
}
