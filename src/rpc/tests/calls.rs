//! Calls between members, over loopback.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use identity::{Peer, Role};
use rpc::testing::{Answer, Running, TestCluster, everybody, patient_server};
use rpc::{Admit, CallError, Class, Client, Code, MAX_BODY, Method, Refused, ServerLimits};
use tokio::sync::Semaphore;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

const ECHO: Method = Method(1);
const HANG: Method = Method(2);
const FAIL: Method = Method(3);
const PANIC: Method = Method(4);
const WHO: Method = Method(5);

async fn answer(peer: Option<Peer>, method: Method, body: Bytes) -> Result<Bytes, Refused> {
    match method {
        ECHO => Ok(body),
        HANG => std::future::pending().await,
        FAIL => Err(Refused::new(Code(100), "no such thing")),
        PANIC => panic!("as the test wants"),
        WHO => Ok(Bytes::from(peer.map(|peer| peer.serial).unwrap_or_default())),
        _ => Err(Refused::new(Code::UNKNOWN_METHOD, "unknown")),
    }
}

async fn call(client: &Client, to: &Running, method: Method) -> Result<Bytes, CallError> {
    let body = Bytes::from_static(b"hello");
    client.call(&to.address, Class::Control, method, body, LONG).await
}

/// Asks again for as long as nothing was asked: for servers that come back.
async fn until_reached(client: &Client, address: &str, method: Method) -> Result<Bytes, CallError> {
    loop {
        let body = Bytes::from_static(b"hello");
        match client.call(address, Class::Control, method, body, LONG).await {
            Err(CallError::Unreachable { .. }) => {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
            other => return other,
        }
    }
}

/// Waits for one permit, which is used up.
async fn take(from: &Semaphore) {
    from.acquire().await.expect("never closed").forget();
}

async fn start(cluster: &TestCluster) -> Running {
    let server = cluster.server(Answer(answer), everybody(), patient_server());
    Running::start(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_share_a_connection_and_get_their_own_answers() {
    let cluster = TestCluster::new();
    let serials = Arc::new(Mutex::new(BTreeSet::new()));
    let running = Running::start(cluster.server(
        Answer(|_, _, body: Bytes| async move {
            // Answers overtake each other.
            for _ in 0..body[0] % 7 {
                tokio::task::yield_now().await;
            }
            Ok(body)
        }),
        {
            let serials = Arc::clone(&serials);
            Arc::new(move |peer: &Peer| {
                serials.lock().expect("lock").insert(peer.serial.clone());
                Ok(())
            })
        },
        patient_server(),
    ))
    .await;
    let client = cluster.client(&cluster.member(Role::Worker));
    let calls: Vec<_> = (0..500_u32)
        .map(|number| {
            let (client, address) = (client.clone(), running.address.clone());
            tokio::spawn(async move {
                let body = Bytes::from(vec![
                    u8::try_from(number % 251).expect("fits");
                    100 + 7 * number as usize
                ]);
                let got = client.call(&address, Class::Control, ECHO, body.clone(), LONG).await;
                assert_eq!(got, Ok(body));
            })
        })
        .collect();
    for call in calls {
        call.await.expect("answered");
    }
    assert_eq!(serials.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn bodies_may_be_large_but_not_too_large() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let body: Bytes = (0..MAX_BODY).map(|at| (at * 31 % 251) as u8).collect();
    let got = client.call(&running.address, Class::Bulk, ECHO, body.clone(), LONG).await;
    assert!(got.expect("answered") == body);

    let larger = Bytes::from(vec![0; MAX_BODY + 1]);
    let error = client.call(&running.address, Class::Bulk, ECHO, larger, LONG).await;
    let error = error.expect_err("too large");
    assert!(matches!(error, CallError::TooLarge { .. }), "{error}");
    assert!(!error.may_have_been_carried_out());
    assert!(call(&client, &running, ECHO).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_wait_for_room_and_all_get_it() {
    let cluster = TestCluster::new();
    let limits = ServerLimits { held: 100_000, ..patient_server() };
    let running = Running::start(cluster.server(Answer(answer), everybody(), limits)).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let calls: Vec<_> = (0..40_u8)
        .map(|number| {
            let (client, address) = (client.clone(), running.address.clone());
            tokio::spawn(async move {
                // Some of them alone are larger than the room.
                let body = Bytes::from(vec![number; 30_000 + 10_000 * usize::from(number % 10)]);
                let got = client.call(&address, Class::Bulk, ECHO, body.clone(), LONG).await;
                assert!(got.expect("answered") == body);
            })
        })
        .collect();
    for call in calls {
        call.await.expect("answered");
    }
}

#[tokio::test]
async fn a_server_stops_while_a_request_waits_for_room() {
    let cluster = TestCluster::new();
    let limits = ServerLimits { held: 10, linger: Duration::from_millis(10), ..patient_server() };
    let arrived = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&arrived);
    let handler = Answer(move |_, _, _| {
        seen.add_permits(1);
        std::future::pending()
    });
    let running = Running::start(cluster.server(handler, everybody(), limits)).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let hang = || {
        let (client, address) = (client.clone(), running.address.clone());
        tokio::spawn(async move {
            let body = Bytes::from_static(b"0123456789");
            client.call(&address, Class::Control, HANG, body, LONG).await
        })
    };
    let calls = [hang(), hang()];
    take(&arrived).await;
    running.stop().await;
    for call in calls {
        call.await.expect("ran").expect_err("the server stopped");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_said() {
    let cluster = TestCluster::new();
    let running = Running::start(cluster.server(
        Answer(|_, _, _| async { Ok(Bytes::from(vec![0; MAX_BODY + 1])) }),
        everybody(),
        patient_server(),
    ))
    .await;
    let client = cluster.client(&cluster.member(Role::Server));
    let error = call(&client, &running, ECHO).await.expect_err("too large");
    let CallError::Refused { refused, .. } = &error else { panic!("{error}") };
    assert_eq!(refused.code, Code::ANSWER_TOO_LARGE);
    assert!(error.may_have_been_carried_out());
}

#[tokio::test]
async fn refusals_carry_code_and_words() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let refused = |error: CallError| match error {
        CallError::Refused { refused, .. } => refused,
        other => panic!("{other}"),
    };
    let error = refused(call(&client, &running, FAIL).await.expect_err("refused"));
    assert_eq!(error, Refused::new(Code(100), "no such thing"));
    let error = refused(call(&client, &running, PANIC).await.expect_err("refused"));
    assert_eq!(error.code, Code::INTERNAL);
    assert!(call(&client, &running, ECHO).await.is_ok(), "a panic ends nothing else");
}

#[tokio::test]
async fn a_call_ends_with_its_limit_and_holds_up_no_other() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let client = cluster.client(&cluster.member(Role::Server));
    call(&client, &running, ECHO).await.expect("connected");
    let limit = Duration::from_millis(30);
    let hanging = client.call(&running.address, Class::Control, HANG, Bytes::new(), limit);
    let (hung, answered) = tokio::join!(hanging, call(&client, &running, ECHO));
    let error = hung.expect_err("no answer");
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
    answered.expect("answered");
}

#[tokio::test]
async fn too_many_requests_are_refused_and_the_rest_answered() {
    let cluster = TestCluster::new();
    let limits = ServerLimits { in_flight: 2, ..patient_server() };
    let (arrived, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (seen, free) = (Arc::clone(&arrived), Arc::clone(&go));
    let handler = Answer(move |_, method, body| {
        let (seen, free) = (Arc::clone(&seen), Arc::clone(&free));
        async move {
            if method == HANG {
                seen.add_permits(1);
                take(&free).await;
            }
            Ok(body)
        }
    });
    let running = Running::start(cluster.server(handler, everybody(), limits)).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let hang = || {
        let (client, address) = (client.clone(), running.address.clone());
        tokio::spawn(async move {
            client.call(&address, Class::Control, HANG, Bytes::new(), LONG).await
        })
    };
    let (first, second) = (hang(), hang());
    take(&arrived).await;
    take(&arrived).await;
    // The client knows the server's limit and does not even ask.
    let limit = Duration::from_millis(20);
    let error = client.call(&running.address, Class::Control, ECHO, Bytes::new(), limit).await;
    let error = error.expect_err("no place");
    assert!(matches!(error, CallError::Timeout { sent: false, .. }), "{error}");
    // The other class has a connection of its own.
    let body = Bytes::from_static(b"x");
    let bulk = client.call(&running.address, Class::Bulk, ECHO, body.clone(), LONG).await;
    assert_eq!(bulk, Ok(body));
    go.add_permits(1);
    go.add_permits(1);
    assert!(first.await.expect("ran").is_ok() && second.await.expect("ran").is_ok());
}

#[tokio::test]
async fn who_was_removed_is_refused_on_a_living_connection() {
    let cluster = TestCluster::new();
    let removed = Arc::new(AtomicBool::new(false));
    let admit: Admit = {
        let removed = Arc::clone(&removed);
        Arc::new(move |_| {
            if removed.load(Ordering::SeqCst) {
                Err("this node was removed from the cluster".to_owned())
            } else {
                Ok(())
            }
        })
    };
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = Answer(move |_, _, body| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(body) }
    });
    let running = Running::start(cluster.server(handler, admit, patient_server())).await;
    let client = cluster.client(&cluster.member(Role::Worker));
    call(&client, &running, ECHO).await.expect("let in");
    removed.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = call(&client, &running, ECHO).await.expect_err("refused");
        let CallError::Refused { refused, .. } = &error else { panic!("{error}") };
        let expected = Refused::new(Code::NOT_ADMITTED, "this node was removed from the cluster");
        assert_eq!(*refused, expected);
        assert!(!error.may_have_been_carried_out());
    }
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_expired_certificate_ends_a_living_connection() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let credentials = cluster.member(Role::Worker);
    let client = cluster.client(&credentials);
    call(&client, &running, ECHO).await.expect("let in");
    cluster.advance(identity::DEFAULT_LIFETIME + Duration::from_secs(60));
    let error = call(&client, &running, ECHO).await.expect_err("refused");
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(!error.may_have_been_carried_out());
}

#[tokio::test]
async fn a_renewed_certificate_loses_no_call() {
    let cluster = TestCluster::new();
    let (arrived, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (seen, free) = (Arc::clone(&arrived), Arc::clone(&go));
    let handler = Answer(move |peer: Option<Peer>, method, _| {
        let (seen, free) = (Arc::clone(&seen), Arc::clone(&free));
        async move {
            if method == HANG {
                seen.add_permits(1);
                take(&free).await;
            }
            Ok(Bytes::from(peer.map(|peer| peer.serial).unwrap_or_default()))
        }
    });
    let running = Running::start(cluster.server(handler, everybody(), patient_server())).await;
    let credentials = cluster.member(Role::Worker);
    let client = cluster.client(&credentials);
    let serial = |answer: Result<Bytes, CallError>| {
        String::from_utf8(answer.expect("answered").to_vec()).expect("text")
    };
    let first = serial(call(&client, &running, WHO).await);
    let waiting = {
        let (client, address) = (client.clone(), running.address.clone());
        tokio::spawn(async move {
            client.call(&address, Class::Control, HANG, Bytes::new(), LONG).await
        })
    };
    take(&arrived).await;
    let node = credentials.peer().and_then(|peer| peer.node).expect("a node");
    cluster.renew(&credentials, node, Role::Worker);
    let second = serial(call(&client, &running, WHO).await);
    assert_ne!(first, second, "new calls show the new certificate");
    go.add_permits(1);
    assert_eq!(serial(waiting.await.expect("ran")), first, "the old connection lived on");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let cluster = TestCluster::new();
    let server = || cluster.server(Answer(answer), everybody(), patient_server());
    // An address of this test's own, so that nobody takes its port in between.
    let running = Running::start_at(server(), "127.9.8.7:0").await;
    let client = cluster.client(&cluster.member(Role::Worker));
    call(&client, &running, ECHO).await.expect("answered");
    let address = running.address.clone();
    running.stop().await;
    let error = client.call(&address, Class::Control, ECHO, Bytes::new(), LONG).await;
    let error = error.expect_err("nobody is there");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let _running = Running::start_at(server(), &address).await;
    until_reached(&client, &address, ECHO).await.expect("answered");
}

#[tokio::test]
async fn a_stopping_server_lets_calls_finish_and_breaks_those_that_do_not() {
    let cluster = TestCluster::new();
    let (arrived, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (seen, free) = (Arc::clone(&arrived), Arc::clone(&go));
    let handler = Answer(move |_, method, body| {
        let (seen, free) = (Arc::clone(&seen), Arc::clone(&free));
        async move {
            seen.add_permits(1);
            if method == HANG {
                std::future::pending::<()>().await;
            }
            take(&free).await;
            Ok(body)
        }
    });
    let running = Running::start(cluster.server(handler, everybody(), patient_server())).await;
    let client = cluster.client(&cluster.member(Role::Worker));
    let ask = |method| {
        let (client, address) = (client.clone(), running.address.clone());
        tokio::spawn(async move {
            client.call(&address, Class::Control, method, Bytes::new(), LONG).await
        })
    };
    let (finishes, hangs) = (ask(ECHO), ask(HANG));
    take(&arrived).await;
    take(&arrived).await;
    let stopped = tokio::spawn(running.stop());
    go.add_permits(1);
    finishes.await.expect("ran").expect("answered");
    let error = hangs.await.expect("ran").expect_err("broken");
    assert!(matches!(error, CallError::Broken { sent: true, .. }), "{error}");
    assert!(error.may_have_been_carried_out());
    stopped.await.expect("stopped");
}

#[tokio::test]
async fn a_dead_address_fails_at_once_for_all() {
    let cluster = TestCluster::new();
    // A port that was free a moment ago, and refuses.
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        listener.local_addr().expect("bound").to_string()
    };
    let client = cluster.client(&cluster.member(Role::Worker));
    for _ in 0..50 {
        let error = client.call(&address, Class::Control, ECHO, Bytes::new(), LONG).await;
        let error = error.expect_err("nobody is there");
        assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    }
}
