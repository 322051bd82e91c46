//! The limit of open files.
use crate::fixture::Fixture;
use crate::support::runtime;
use keybound_testing::ChildProcess;
use keybound_verify::DecisionLog;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

#[test]
fn limit_is_raised_as_far_as_it_is_allowed() {
    let mut process = ChildProcess::start(&mut ChildProcess::of_test("open_files::child"));
    assert_eq!(process.expect("unlimited: "), "Ok(())");
    let error = process.expect("limited: ");
    let why = "[limits]: connections is larger than 44, which is what the limit of 300 open files has room for";
    assert!(error.contains(why), "{error}");
    assert_eq!(process.expect("fewer connections: "), "Ok(())");
}

#[test]
#[ignore = "the child process of another test"]
fn child() {
    let fixture = Fixture::new();
    let start = async || {
        let daemon = fixture.start(DecisionLog::none()).await?;
        daemon.stop(Duration::ZERO).await;
        Ok::<_, keybound_verify::StartError>(())
    };
    let set = |current, maximum| {
        let limit = Rlimit {
            current: Some(current),
            maximum,
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    };
    runtime().block_on(async {
        set(128, getrlimit(Resource::Nofile).maximum);
        println!("unlimited: {:?}", start().await);
        set(128, Some(300));
        println!("limited: {:?}", start().await);
        fixture.replace("[[api]]", "[limits]\nconnections = 44\n[[api]]");
        println!("fewer connections: {:?}", start().await);
    });
}
