//! The same over real sockets.

use std::sync::{Arc, Mutex};

use lucid::gateways::payment::tron::{Http, Signs, TronGateway};
use lucid::gateways::payment::{Lookup, NotPrepared, PaymentGateway, SendOutcome, Sending};

use crate::support::rig::{Rig, USDT, clock};
use crate::support::tron::server::Server;
use crate::support::tron::{Config, Fault, Network, When};

#[tokio::test]
async fn a_payout_goes_through_over_http() {
    let rig = Rig::new(1);
    // The rig's network moves behind sockets; what it leaves is never asked.
    let network = std::mem::replace(&mut *rig.network(), Network::new(Config::default(), 1, 1));
    let server = Server::start(network).await.unwrap();
    for node in &mut server.network().nodes {
        node.api_key = Some("the key".into());
    }
    let urls = [format!("{}/", server.url(0)), server.url(1)];
    let mut setup = rig.setup.clone();
    (setup.node_url, setup.witness_urls) = (urls[0].clone(), vec![urls[1].clone()]);
    let time = clock(&server.network, &Arc::new(Mutex::new(0)));
    let gateway = |key: Option<&str>| {
        let transport = Arc::new(Http::new(key, &urls).unwrap());
        TronGateway::new(&setup, rig.wallet, Arc::clone(&rig.vault) as Arc<dyn Signs>, transport, Arc::clone(&time))
    };
    let payout = rig.payout(1, USDT);
    let Err(NotPrepared::Later(why)) = gateway(None).prepare(&[rig.transfer(&payout)]).await.remove(0) else { panic!("without a key") };
    assert!(why.contains("401"), "{why}");
    let gateway = gateway(Some("the key"));
    assert!(!format!("{gateway:?}").contains("the key"));
    let prepared = gateway.prepare(&[rig.transfer(&payout)]).await.remove(0).unwrap();
    let payout = payout.sign(prepared, Some(&payout.address), rig.now()).unwrap().maybe_sent(rig.now()).unwrap();
    let attempt = &payout.attempts[0];
    server.network().nodes[0].faults.add("broadcasthex", When::Nth(1), Fault::LostResponse);
    // The answer is lost; the witness, which is asked then, knows it from the pool.
    assert_eq!(gateway.send(attempt, Sending::First).await, SendOutcome::Accepted);
    server.network().chain.advance(30_000);
    let lookup = async || gateway.lookup(std::slice::from_ref(&payout), time().wall).await.remove(0);
    assert!(matches!(lookup().await, Lookup::Seen { .. }));
    server.network().nodes[0].faults.add("getnowblock", When::Nth(1), Fault::CutBody(20));
    server.network().nodes[0].faults.add("getnowblock", When::Nth(2), Fault::Huge(5 << 20));
    for _ in 0..2 {
        server.network().chain.advance(30_000);
        assert!(matches!(lookup().await, Lookup::Unknown(_)));
    }
    server.network().chain.advance(60_000);
    assert!(matches!(lookup().await, Lookup::Paid(_)));
    let first = server.network().chain.config.first_block;
    let page = gateway.outgoing(first).await.unwrap();
    assert_eq!((page.transfers.len(), page.is_last), (1, true));
    assert_eq!(server.network().chain.payments().len(), 1);
    server.stop();
}
