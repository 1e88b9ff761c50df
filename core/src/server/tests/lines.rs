//! What the lines of the log say of a connection: whose it is.

use super::{connect, fake};
use crate::testing::lines::Collector;

#[tokio::test(start_paused = true)]
async fn a_line_about_a_connection_says_who_is_at_the_other_end() {
    let collector = Collector::default();
    let _collecting = tracing::subscriber::set_default(collector.clone());
    let (server, _fake) = fake();
    let (mut peer, task) = connect(&server).await;
    peer.say(&[0xff; 64]).await;
    task.await.unwrap();
    let lines = collector.take();
    let closed = lines.iter().find(|line| line.contains("connection closed"));
    let closed = closed.expect("it was told why");
    assert!(
        closed.starts_with("connection peer=\"a test\" client=a test "),
        "{closed}"
    );
}
