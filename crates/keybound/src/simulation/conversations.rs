//! Each case of `conversations/` is a test of its own, and every row of the protocol has a case.
use super::case::Case;
use super::runner::run;
use super::telemetry::{check_counters, check_logged};
use keybound_core::lock;
use keybound_testing::{CapturedLog, assert_no_leak, names_of_files};
use std::path::Path;

#[test]
fn every_row_of_the_protocol_has_a_conversation() {
    let names = names_of_files(FOLDER, "json");
    let named = |name: &String| (name.clone(), case(&name.replace('_', "-")));
    let cases: Vec<_> = names.iter().map(named).collect();
    let rows = include_str!("../../conversations/rows.txt");
    let rows: Vec<&str> = rows.lines().filter(|row| !row.is_empty()).collect();
    for row in &rows {
        let mut tested = cases.iter().flat_map(|(_, case)| &case.rows);
        assert!(tested.any(|tested| tested == row), "no case tests: {row}");
    }
    for (name, case) in &cases {
        assert!(!case.rows.is_empty(), "{name} tests no row");
        for row in &case.rows {
            assert!(rows.contains(&&**row), "{name}: unknown row: {row}");
        }
    }
}

/// Runs a case and checks its results, its log and its counters.
fn check(test: &str) {
    let name = &*test.replace('_', "-");
    let case = case(name);
    println!("{}", case.why);
    let log = CapturedLog::default();
    let (host, problems) = check_counters(|| log.block_on_paused(run(&case)));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    check_logged(name, &host, &log);
    let text = log.text();
    assert!(text.contains("keybound_step"), "nothing was logged");
    assert_no_leak(&lock(&host.history).secrets, &text, name);
}

/// The case of this name.
pub(super) fn case(name: &str) -> Case {
    let path = Path::new(FOLDER).join(name).with_extension("json");
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conversations");

keybound_testing::cases! {
    check, names_of_files(FOLDER, "json");
    attestation_5_minutes
    attestation_90_percent
    attestation_cached
    attestation_fails
    attestation_no_provider
    attestation_rejected_by_imds
    attestation_shared_failure
    bypass_400_for_another_reason
    bypass_500
    bypass_not_supported
    bypass_not_supported_challenge
    bypass_not_supported_same_certificate
    bypass_rate_limited
    bypass_same_certificate
    capabilities_app_service
    capabilities_attestation_library
    capabilities_attestation_library_missing
    capabilities_attestation_library_panics
    capabilities_azure_arc
    capabilities_cloud_shell
    capabilities_compute_array
    capabilities_compute_fails
    capabilities_compute_malformed
    capabilities_compute_older_version
    capabilities_machine_learning
    capabilities_no_imds
    capabilities_not_imds
    capabilities_not_imds_400
    capabilities_own_timeout
    capabilities_own_timeout_last_failure
    capabilities_retries
    capabilities_retries_off
    capabilities_service_fabric
    capabilities_silent_imds
    capabilities_single_flight
    capabilities_source_malformed
    capabilities_token_service
    capabilities_v1_fails
    capabilities_v1_plain
    capabilities_v1_trusted_launch
    capabilities_v2_disabled
    capabilities_v2_disabled_without_imds
    // Windows has an attestation provider by default.
    #[cfg(not(windows))]
    capabilities_v2_hardware
    capabilities_v2_keyguard
    capabilities_v2_linux
    capabilities_v2_plain
    capabilities_v2_secure_boot_off
    certificate_half_life
    certificate_same_again
    certificate_stale_7d
    certificate_stale_8h
    certificate_stale_imds_fails
    certificate_token_end
    certificate_token_end_bypass_not_supported
    certificate_token_end_cached_by_imds
    certificate_token_end_in_imds_cache
    certificate_token_end_stale
    certificate_token_end_stuck
    certificate_used_while_imds_fails
    claims_add_no_capability
    claims_capabilities
    claims_during_renewal
    claims_fresh_certificate
    claims_leave_replacements
    claims_rate_limited
    claims_together
    clock_ahead_of_a_certificate
    clock_ahead_of_a_token
    clock_ahead_of_a_token_without_date
    clock_back
    clock_back_a_little
    clock_back_backoff
    clock_back_renewal
    clock_behind_a_certificate
    clock_behind_a_token
    clock_far_ahead
    clock_forward
    clock_forward_and_back
    clock_forward_renewal
    deadline_cuts_410
    deadline_cuts_retries
    deadline_during_attestation
    deadline_of_a_later_step
    deadline_unresponsive_peer
    endpoints_checked
    error_in_plain_text
    error_with_status_200
    failed_key_in_handshake
    failed_key_in_minting
    federated_allow_list
    federated_app_service
    federated_assertion_expired_for_entra
    federated_attested
    federated_bearer
    federated_bound
    federated_cached_assertion_while_exchange_fails
    federated_callback_certificate_expired
    federated_callback_challenges
    federated_callback_hangs
    federated_callback_key_too_weak
    federated_callback_reasons
    federated_callback_refused
    federated_callback_unmet_requirements
    federated_callbacks
    federated_certificate_rejected
    federated_certificate_rejected_bounded
    federated_certificate_rejected_in_handshake
    federated_certificate_without_replacement
    federated_claims
    federated_claims_rate_limited
    federated_client_refused_without_codes
    federated_connection_refused
    federated_deadlines
    federated_environment
    federated_error_repeats_assertion
    federated_file
    federated_file_hostile
    federated_file_replaced
    federated_forced
    federated_imds_v2_disabled
    federated_key_too_weak
    federated_no_v1_fallback
    federated_other_identity
    federated_redirect
    federated_refresh
    federated_refused_assertion
    federated_refused_assertion_first_leg_fails
    federated_renewed_certificate
    federated_rotation_between_legs
    federated_shared_state
    federated_token_of_another_app
    federated_trailing_slash
    federated_unbound_assertion
    federated_wrong_signature
    first_token
    identity_not_found
    idle_for_months
    imds_v2_disabled
    imds_v2_disabled_cached
    issue_not_imds
    key_too_weak
    metadata_not_imds
    metadata_not_imds_status
    no_replacement_700027
    no_replacement_certificate_mismatch
    no_replacement_certificate_missing
    no_replacement_invalid_scope
    no_replacement_mtls_disabled
    no_replacement_other_client_code
    no_replacement_resource_without_bound_tokens
    no_replacement_tenant_not_eligible
    no_replacement_tls_other
    no_replacement_whole_error
    no_retry_400
    no_retry_401
    no_retry_403
    no_retry_broken_response
    no_retry_entra_404
    no_retry_entra_408
    no_retry_entra_410
    no_retry_entra_429
    no_retry_entra_5xx_with_retry_after
    no_retry_imds_other
    no_retry_when_disabled
    operator_allow_list
    replaced_key_in_handshake
    replaced_key_in_minting
    replacement_1000502
    replacement_1000610
    replacement_1000611
    replacement_1000612
    replacement_1000613
    replacement_1000614
    replacement_1000901
    replacement_1000901_bearer
    replacement_200_resources
    replacement_bounded
    replacement_drops_attestation
    replacement_failed_key
    replacement_forced_mint_fails
    replacement_keeps_valid_tokens
    replacement_late_rejection
    replacement_rejected_token_valid
    replacement_tls
    replacement_tls_closed
    replacement_two_resources
    replacement_while_renewing
    replacement_within_deadline
    replacement_without_codes
    retries_off
    retry_after_date
    retry_after_date_clock_ahead
    retry_after_date_clock_behind
    retry_after_date_without_date_header
    retry_after_seconds
    retry_after_too_long
    retry_entra_5xx
    retry_entra_5xx_exhausted
    retry_entra_no_connection
    retry_entra_timeout
    retry_entra_timeout_exhausted
    retry_imds_404
    retry_imds_404_exhausted
    retry_imds_404_issue
    retry_imds_408
    retry_imds_408_exhausted
    retry_imds_410
    retry_imds_410_exhausted
    retry_imds_429
    retry_imds_429_exhausted
    retry_imds_500
    retry_imds_500_exhausted
    retry_imds_502
    retry_imds_503
    retry_imds_503_exhausted
    retry_imds_504
    retry_imds_504_exhausted
    retry_imds_599
    retry_imds_no_connection_exhausted
    retry_imds_no_connection_issue
    retry_imds_no_connection_metadata
    retry_imds_timeout
    retry_mixed
    separate_identities
    separate_identities_in_shared_state
    shared_state
    shared_state_other_settings
    single_flight_all_callers_leave
    single_flight_one_caller_leaves
    single_flight_own_deadline
    single_flight_separate_resources
    single_flight_shares_failure
    source_app_service
    source_app_service_user_assigned
    // The key file must belong to a service of the system: on Windows a test cannot create one.
    #[cfg(target_os = "linux")]
    source_azure_arc
    source_azure_arc_hostile_challenges
    #[cfg(target_os = "linux")]
    source_azure_arc_hostile_files
    #[cfg(target_os = "linux")]
    source_azure_arc_other_responses
    #[cfg(target_os = "linux")]
    source_azure_arc_second_challenge
    #[cfg(target_os = "linux")]
    source_azure_arc_unconfirmed
    #[cfg(target_os = "linux")]
    source_azure_arc_user_assigned
    source_azure_arc_without_key
    source_claims
    source_claims_during_a_request
    source_claims_rate_limited
    source_clock_ahead
    source_clock_behind
    source_cloud_shell
    source_cloud_shell_user_assigned
    source_deadline
    source_echo
    source_empty_variables
    source_errors
    source_fails_while_valid
    source_forms
    source_imds
    source_imds_user_assigned
    source_imds_v2_disabled
    source_machine_learning
    source_machine_learning_user_assigned
    source_malformed_variables
    source_no_bound_tokens
    source_no_retry
    source_other_v2_disabled
    source_refresh_ahead
    source_resource_verbatim
    source_retries_off
    source_retry_after_other
    source_retry_imds
    source_retry_other
    source_separate_entries
    source_service_fabric
    source_service_fabric_revocation
    source_service_fabric_user_assigned
    source_single_flight
    store_another_container
    store_disabled
    store_entra_and_imds_fail
    store_entra_fails
    store_expired
    store_expired_in_a_long_life
    store_hit
    store_key_in_memory
    store_newest
    store_newest_by_token_end
    store_other_key
    store_panics
    store_past_half_life
    store_planted_endpoint
    store_planted_issuer
    store_planted_life
    store_removes_rejected
    store_separate_entries
    store_skipped_after_rejection
    store_stale
    store_token_end
    store_token_end_imds_fails
    superseded_token_used_while_entra_fails
    token_already_expired
    token_expired_is_expired
    token_expires_during_wait
    token_expires_with_certificate
    token_forced
    token_half_life
    token_invalid_refresh_in
    token_last_five_minutes
    token_older_than_response
    token_outlives_token_end
    token_refresh_fails
    token_refresh_in
    token_refresh_in_fraction
    token_refresh_once
    token_shared_failure_counts_once
    token_short_life
    token_short_lived
    token_slow_refresh_is_not_lost
    token_types_cached_separately
    token_used_while_entra_fails
    token_used_while_entra_hangs
    token_wrong_binding
    unresponsive_imds
    working_key_in_handshake
}
