use super::{Action, Fault, FaultError, Leg};
use keybound_core::{X5tS256, lock};
use std::collections::VecDeque;
use std::sync::Mutex;

/// The pending faults, in the order of their addition, and the certificates that faults revoked.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Mutex<Plan>);

#[derive(Debug, Default)]
struct Plan {
    pending: Vec<Fault>,
    revoked: VecDeque<Revoked>,
}

/// A revoked certificate.
#[derive(Debug)]
struct Revoked {
    leg: Leg,
    certificate: X5tS256,
    action: Action,
}

impl FaultPlan {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(Plan {
            pending: faults,
            revoked: VecDeque::new(),
        }))
    }

    /// The fault for the next request on a leg. Called once for each request; decrements the count. Faults that revoke a
    /// certificate are handled by [`revoked`](Self::revoked).
    pub fn next(&self, leg: Leg) -> Option<Action> {
        lock(&self.0).take(leg, |action| !action.revokes())
    }

    /// The action that rejects a certificate on a leg, if the certificate is revoked there. A pending fault revokes the next
    /// certificate; its count is a number of certificates.
    pub fn revoked(&self, leg: Leg, certificate: &X5tS256) -> Option<Action> {
        let mut plan = lock(&self.0);
        let known = |revoked: &&Revoked| revoked.leg == leg && revoked.certificate == *certificate;
        if let Some(revoked) = plan.revoked.iter().find(known) {
            return Some(revoked.action.clone());
        }
        let Some(Action::RevokeCertificate(action)) = plan.take(leg, Action::revokes) else {
            return None;
        };
        if plan.revoked.len() == MAX_REVOKED {
            plan.revoked.pop_front();
        }
        plan.revoked.push_back(Revoked {
            leg,
            certificate: certificate.clone(),
            action: (*action).clone(),
        });
        Some(*action)
    }

    /// Whether certificates are, or the next one will be, revoked on a leg.
    pub fn revokes_on(&self, leg: Leg) -> bool {
        let plan = lock(&self.0);
        let is_pending = |fault: &Fault| fault.leg == leg && fault.action.revokes();
        plan.pending.iter().any(is_pending) || plan.revoked.iter().any(|revoked| revoked.leg == leg)
    }

    /// Whether the next fault on a leg is this action. Does not decrement the count.
    pub fn peek_is(&self, leg: Leg, action: &Action) -> bool {
        let plan = lock(&self.0);
        let next = plan.pending.iter().find(|fault| fault.leg == leg);
        next.is_some_and(|fault| fault.action == *action)
    }

    /// Appends pending faults.
    ///
    /// # Errors
    /// If more than 1000 would be pending. None is added then.
    pub fn add(&self, added: Vec<Fault>) -> Result<(), FaultError> {
        let mut plan = lock(&self.0);
        if plan.pending.len() + added.len() > MAX_PENDING {
            return Err(FaultError::new("more than 1000 faults would be pending"));
        }
        plan.pending.extend(added);
        Ok(())
    }

    /// The pending faults with their remaining counts.
    pub fn pending(&self) -> Vec<Fault> {
        lock(&self.0).pending.clone()
    }

    /// Removes all faults and revoked certificates.
    pub fn clear(&self) {
        *lock(&self.0) = Plan::default();
    }
}

impl Plan {
    /// Takes the first pending action of a kind on a leg.
    fn take(&mut self, leg: Leg, kind: impl Fn(&Action) -> bool) -> Option<Action> {
        let faults = &mut self.pending;
        let matches = |fault: &Fault| fault.leg == leg && kind(&fault.action);
        let position = faults.iter().position(matches)?;
        let fault = &mut faults[position];
        let action = fault.action.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                faults.remove(position);
            }
        }
        Some(action)
    }
}

const MAX_PENDING: usize = 1000;
/// Above it the oldest is evicted.
const MAX_REVOKED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(texts: &[&str]) -> FaultPlan {
        FaultPlan::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn counted_faults_expire_in_order_and_others_remain() {
        let plan = plan(&["token=hang*2", "token=close", "issue=reset*1"]);
        assert!(plan.peek_is(Leg::Token, &Action::Hang) && plan.peek_is(Leg::Token, &Action::Hang));
        assert!(
            !plan.peek_is(Leg::Token, &Action::Close) && !plan.peek_is(Leg::Vault, &Action::Hang)
        );
        assert_eq!(plan.next(Leg::Token), Some(Action::Hang));
        assert_eq!(plan.next(Leg::Token), Some(Action::Hang));
        assert_eq!(plan.next(Leg::Token), Some(Action::Close));
        assert_eq!(plan.next(Leg::Token), Some(Action::Close));
        assert_eq!(plan.next(Leg::Issue), Some(Action::Reset));
        assert_eq!(plan.next(Leg::Issue), None);
        assert_eq!(plan.next(Leg::Vault), None);
        assert_eq!(plan.pending().len(), 1);
        plan.clear();
        assert_eq!(plan.next(Leg::Token), None);
    }

    fn certificate(name: &str) -> X5tS256 {
        X5tS256::of_der(name.as_bytes())
    }

    #[test]
    fn rejects_a_revoked_certificate_on_every_use_and_no_other() {
        let plan = plan(&["token=status:503*1", "token=revoke-certificate*2"]);
        let [first, second, third] = ["1", "2", "3"].map(certificate);
        let rejected = Some(Action::Aadsts(1_000_610));
        assert!(plan.revokes_on(Leg::Token) && !plan.revokes_on(Leg::TokenTls));
        assert_eq!(plan.revoked(Leg::TokenTls, &first), None);
        for certificate in [&first, &first, &second, &first, &second] {
            assert_eq!(plan.revoked(Leg::Token, certificate), rejected);
        }
        assert_eq!(plan.revoked(Leg::Token, &third), None);
        assert_eq!(plan.revoked(Leg::Token, &first), rejected);
        assert_eq!(plan.pending().len(), 1, "other faults remain");
        assert!(matches!(plan.next(Leg::Token), Some(Action::Status(_))));
        assert_eq!(plan.next(Leg::Token), None);
        plan.clear();
        assert_eq!(plan.revoked(Leg::Token, &first), None);
        assert!(!plan.revokes_on(Leg::Token));
    }

    #[test]
    fn limits_the_number_of_revoked_certificates() {
        let plan = plan(&["token-tls=revoke-certificate:access_denied"]);
        for number in 0..=MAX_REVOKED {
            let certificate = certificate(&number.to_string());
            let rejected = plan.revoked(Leg::TokenTls, &certificate);
            assert_eq!(rejected, Some(Action::RejectCertificate("access_denied")));
        }
        assert_eq!(lock(&plan.0).revoked.len(), MAX_REVOKED);
    }

    #[test]
    fn limits_the_number_of_pending_faults() {
        let plan = plan(&[]);
        let many: Vec<Fault> = (0..MAX_PENDING)
            .map(|_| "token=hang".parse().unwrap())
            .collect();
        plan.add(many).unwrap();
        assert!(plan.add(vec!["token=hang".parse().unwrap()]).is_err());
        assert_eq!(plan.pending().len(), MAX_PENDING);
    }
}
