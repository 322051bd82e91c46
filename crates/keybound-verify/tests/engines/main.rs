//! The attack table through proxies, with their configurations as they are printed. Each proxy is a process that asks the daemon of the
//! test, and forwards to an API of the test.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod api;
mod client;
mod end_to_end;
mod engine;
mod faults;
mod front;
mod hostile;
mod many_hosts;
mod stall;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tls;
mod tls_to_daemon;

use engine::{
    APACHE, CADDY, ENVOY, ENVOY_HTTP, HAPROXY, NGINX, NGINX_WITH_SETTINGS, TRAEFIK,
    TRAEFIK_WITH_SETTINGS,
};
use faults::faults_of_daemon;
use hostile::hostile_requests;
use many_hosts::many_hosts;
use table::attack_table;
use tls_to_daemon::daemon_with_tls;

#[test]
fn attack_table_through_envoy_by_grpc() {
    attack_table(&ENVOY);
}

#[test]
fn attack_table_through_envoy_by_http() {
    attack_table(&ENVOY_HTTP);
}

#[test]
fn attack_table_through_nginx() {
    attack_table(&NGINX);
}

#[test]
fn attack_table_through_haproxy() {
    attack_table(&HAPROXY);
}

#[test]
fn attack_table_through_apache() {
    attack_table(&APACHE);
}

#[test]
fn attack_table_through_traefik() {
    attack_table(&TRAEFIK);
}

#[test]
fn attack_table_through_caddy() {
    attack_table(&CADDY);
}

#[test]
fn hostile_requests_through_envoy_by_grpc() {
    hostile_requests(&ENVOY);
}

#[test]
fn hostile_requests_through_envoy_by_http() {
    hostile_requests(&ENVOY_HTTP);
}

#[test]
fn hostile_requests_through_nginx() {
    hostile_requests(&NGINX);
}

#[test]
fn hostile_requests_through_haproxy() {
    hostile_requests(&HAPROXY);
}

#[test]
fn hostile_requests_through_apache() {
    hostile_requests(&APACHE);
}

#[test]
fn hostile_requests_through_traefik() {
    hostile_requests(&TRAEFIK);
}

#[test]
fn hostile_requests_through_caddy() {
    hostile_requests(&CADDY);
}

#[test]
fn hostile_requests_through_nginx_with_settings_for_other_sites() {
    hostile_requests(&NGINX_WITH_SETTINGS);
}

#[test]
fn hostile_requests_through_traefik_that_lets_clients_name_addresses() {
    hostile_requests(&TRAEFIK_WITH_SETTINGS);
}

#[test]
fn tls_between_envoy_by_grpc_and_daemon() {
    daemon_with_tls(&ENVOY);
}

#[test]
fn tls_between_nginx_and_daemon() {
    daemon_with_tls(&NGINX);
}

#[test]
fn tls_between_haproxy_and_daemon() {
    daemon_with_tls(&HAPROXY);
}

#[test]
fn printed_configurations_have_room_for_many_long_hosts() {
    for kind in [&ENVOY, &NGINX, &HAPROXY, &APACHE, &TRAEFIK, &CADDY] {
        many_hosts(kind);
    }
}

#[test]
fn faults_of_daemon_behind_envoy_by_grpc() {
    faults_of_daemon(&ENVOY);
}

#[test]
fn faults_of_daemon_behind_envoy_by_http() {
    faults_of_daemon(&ENVOY_HTTP);
}

#[test]
fn faults_of_daemon_behind_nginx() {
    faults_of_daemon(&NGINX);
}

#[test]
fn faults_of_daemon_behind_haproxy() {
    faults_of_daemon(&HAPROXY);
}

#[test]
fn faults_of_daemon_behind_apache() {
    faults_of_daemon(&APACHE);
}

#[test]
fn faults_of_daemon_behind_traefik() {
    faults_of_daemon(&TRAEFIK);
}

#[test]
fn faults_of_daemon_behind_caddy() {
    faults_of_daemon(&CADDY);
}
