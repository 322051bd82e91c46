//! Faults on demand: which request is answered wrongly, how, and how often.
mod action;
mod apply;
mod leg;
mod syntax;

pub(crate) use action::{Action, CertificateFault, ServerCertificateFault, StatusFault};
pub(crate) use apply::{alter, replace};
pub(crate) use leg::{ATTEST_PATH, ISSUE_PATH, Leg, METADATA_PATH};
pub use syntax::{Fault, FaultError};

use std::sync::{Mutex, PoisonError};

/// The faults that wait for their requests, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Mutex<Vec<Fault>>);

impl FaultPlan {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    /// What the next request on a leg meets. Called once for each request; a counted fault is used up by it.
    pub fn next(&self, leg: Leg) -> Option<Action> {
        let mut faults = self.lock();
        let position = faults.iter().position(|fault| fault.leg == leg)?;
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

    /// Whether the next request on a leg would meet this action. Uses nothing up.
    pub fn peek_is(&self, leg: Leg, action: &Action) -> bool {
        let faults = self.lock();
        let next = faults.iter().find(|fault| fault.leg == leg);
        next.is_some_and(|fault| fault.action == *action)
    }

    /// Adds faults behind those that wait.
    ///
    /// # Errors
    /// Where more than 1000 would wait. None is added then.
    pub fn add(&self, added: Vec<Fault>) -> Result<(), FaultError> {
        let mut faults = self.lock();
        if faults.len() + added.len() > MOST_WAITING {
            return Err(FaultError::new("more than 1000 faults would wait"));
        }
        faults.extend(added);
        Ok(())
    }

    /// The faults that wait, with the counts left.
    pub fn waiting(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        // The list is whole after every step, so a panic elsewhere leaves it usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_WAITING: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(texts: &[&str]) -> FaultPlan {
        FaultPlan::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn counted_faults_are_used_up_in_order_and_others_stay() {
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
        assert_eq!(plan.waiting().len(), 1);
        plan.clear();
        assert_eq!(plan.next(Leg::Token), None);
    }

    #[test]
    fn the_number_of_waiting_faults_is_bounded() {
        let plan = plan(&[]);
        let many: Vec<Fault> = (0..MOST_WAITING)
            .map(|_| "token=hang".parse().unwrap())
            .collect();
        plan.add(many).unwrap();
        assert!(plan.add(vec!["token=hang".parse().unwrap()]).is_err());
        assert_eq!(plan.waiting().len(), MOST_WAITING);
    }
}
