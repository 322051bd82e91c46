//! Faults of tokens and responses on each source.
use super::*;

#[tokio::test]
async fn applies_faults_of_tokens_on_each_source() {
    let legs = SOURCES.map(|source| match source {
        "imds" => "imds-token",
        "app-service-2017" => "app-service",
        source => source,
    });
    for (source, leg) in SOURCES.into_iter().zip(legs) {
        let state = state(Config::default());
        for action in [
            "garbage-token",
            "expired-token",
            "foreign-key",
            "other-client",
            "token-type:pop",
            "status:429,Retry-After=7",
            "status:429",
            "status:410",
            "status:503",
            "set-field:access_token=7",
        ] {
            let fault = format!("{leg}={action}*1").parse().unwrap();
            state.faults.add(vec![fault]).unwrap();
            let response = ask(&state, source, &[]).await;
            let token = || token(&response);
            let seen = match action {
                "garbage-token" => UnverifiedJwt::parse(response.text("access_token")).is_none(),
                "expired-token" => {
                    token().claims["exp"].as_u64().unwrap() < state.clock.unix()
                        && response.body["expires_in"]
                            .as_str()
                            .is_none_or(|it| it == "0")
                }
                "foreign-key" => {
                    let signer = &state.keys.entra;
                    !signer.verifies(response.text("access_token"))
                }
                "other-client" => token().text("appid") != Some(SYSTEM),
                "token-type:pop" => response.text("token_type") == "pop",
                "status:429,Retry-After=7" => {
                    response.status == 429 && response.headers["retry-after"] == "7"
                }
                "set-field:access_token=7" => response.body["access_token"] == 7,
                status => format!("status:{}", response.status) == status,
            };
            assert!(seen, "{source} {action} {response:?}");
        }
        assert_eq!(ask(&state, source, &[]).await.status, 200, "{source}");
        assert_eq!(state.records.counts()[leg], 11, "{source}");
    }
}
