//! What each assignor promises, of groups made up.

use proptest::prelude::*;

use super::*;

fn topics(counts: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
    let counts = counts.iter();
    counts
        .map(|(name, count)| (Arc::from(*name), *count))
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// What each subscriber gets, as `t0`.
fn dealt(
    assignor: Assignor,
    subscriptions: &[&BTreeSet<Arc<str>>],
    topics: &BTreeMap<Arc<str>, i32>,
) -> Vec<Vec<String>> {
    let subscribers = subscriptions.iter().map(|topics| Subscriber {
        topics,
        previous: BTreeSet::new(),
    });
    let subscribers: Vec<_> = subscribers.collect();
    let mut dealt = vec![Vec::new(); subscribers.len()];
    for (partition, place) in assignor.assign(&subscribers, topics) {
        dealt[place].push(format!("{}{}", partition.topic, partition.partition));
    }
    dealt
}

#[test]
fn range_and_round_robin_deal_as_kafka_documents_it() {
    // The examples in the documentation of RangeAssignor and RoundRobinAssignor.
    let two = topics(&[("t0", 3), ("t1", 3)]);
    let both = names(&["t0", "t1"]);
    assert_eq!(
        dealt(Assignor::Range, &[&both, &both], &two),
        [
            ["t00", "t01", "t10", "t11"].to_vec(),
            ["t02", "t12"].to_vec()
        ]
    );
    assert_eq!(
        dealt(Assignor::RoundRobin, &[&both, &both], &two),
        [["t00", "t02", "t11"], ["t01", "t10", "t12"]]
    );
    let three = topics(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let (a, b, c) = (
        names(&["t0"]),
        names(&["t0", "t1"]),
        names(&["t0", "t1", "t2"]),
    );
    assert_eq!(
        dealt(Assignor::RoundRobin, &[&a, &b, &c], &three),
        [vec!["t00"], vec!["t10"], vec!["t11", "t20", "t21", "t22"]]
    );
}

#[test]
fn sticky_goes_over_others_where_subscriptions_differ() {
    let counts = topics(&[("x", 2), ("y", 1)]);
    let (a, b, c) = (names(&["x"]), names(&["x", "y"]), names(&["y"]));
    let own = |topic: &str, numbers: &[i32]| {
        let numbers = numbers.iter();
        let owned = numbers.map(|number| TopicPartition {
            topic: Arc::from(topic),
            partition: *number,
        });
        owned.collect::<BTreeSet<_>>()
    };
    let subscribers = [
        Subscriber {
            topics: &a,
            previous: own("x", &[0, 1]),
        },
        Subscriber {
            topics: &b,
            previous: own("y", &[0]),
        },
        Subscriber {
            topics: &c,
            previous: BTreeSet::new(),
        },
    ];
    let assignment = Assignor::Sticky.assign(&subscribers, &counts);
    let loads = loads(&assignment, 3);
    assert_eq!(loads, [1, 1, 1], "a can give to c only by way of b");
}

#[test]
fn most_named_is_taken_and_ties_go_by_the_table() {
    use Assignor::{Range, RoundRobin, Sticky};
    assert_eq!(
        Assignor::most_named([RoundRobin, Range, RoundRobin].into_iter()),
        RoundRobin
    );
    assert_eq!(Assignor::most_named([RoundRobin, Range].into_iter()), Range);
    assert_eq!(Assignor::most_named([Range, Sticky].into_iter()), Sticky);
    assert_eq!(Assignor::most_named(std::iter::empty()), Sticky);
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::from_name("other"), None);
}

fn loads(assignment: &Assignment, count: usize) -> Vec<usize> {
    let mut loads = vec![0; count];
    for place in assignment.values() {
        loads[*place] += 1;
    }
    loads
}

const TOPICS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// How many partitions each topic has (0: it is not there).
fn any_topics() -> impl Strategy<Value = BTreeMap<Arc<str>, i32>> {
    prop::collection::vec(0..12_i32, TOPICS.len()).prop_map(|counts| {
        let counts = TOPICS.iter().zip(counts).filter(|(_, count)| *count > 0);
        counts
            .map(|(name, count)| (Arc::from(*name), count))
            .collect()
    })
}

fn any_subscription() -> impl Strategy<Value = BTreeSet<Arc<str>>> {
    prop::collection::btree_set(prop::sample::select(&TOPICS[..]), 0..=TOPICS.len())
        .prop_map(|names| names.into_iter().map(Arc::from).collect())
}

/// What each had before: anything at all.
fn any_previous(members: usize) -> impl Strategy<Value = Vec<BTreeSet<TopicPartition>>> {
    let partition = (prop::sample::select(&TOPICS[..]), 0..12_i32);
    let partition = partition.prop_map(|(topic, partition)| TopicPartition {
        topic: Arc::from(topic),
        partition,
    });
    prop::collection::vec(prop::collection::btree_set(partition, 0..12), members)
}

type Members = Vec<(BTreeSet<Arc<str>>, BTreeSet<TopicPartition>)>;

fn any_members() -> impl Strategy<Value = Members> {
    (1..8_usize).prop_flat_map(|count| {
        let subscriptions = prop::collection::vec(any_subscription(), count);
        (subscriptions, any_previous(count))
            .prop_map(|(subscriptions, previous)| subscriptions.into_iter().zip(previous).collect())
    })
}

fn subscribers(members: &Members) -> Vec<Subscriber<'_>> {
    let members = members.iter();
    let subscribers = members.map(|(topics, previous)| Subscriber {
        topics,
        previous: previous.clone(),
    });
    subscribers.collect()
}

/// How many partitions are not with the one who had them and may have them still.
fn moves(assignment: &Assignment, subscribers: &[Subscriber<'_>]) -> usize {
    let moved = assignment.iter().filter(|(partition, place)| {
        let had = |subscriber: &Subscriber<'_>| {
            subscriber.previous.contains(*partition) && subscriber.topics.contains(&partition.topic)
        };
        subscribers.iter().any(had) && !had(&subscribers[**place])
    });
    moved.count()
}

proptest! {
    #[test]
    fn assignments_are_complete_and_only_of_what_was_subscribed_to(
        topics in any_topics(),
        members in any_members(),
    ) {
        let subscribers = subscribers(&members);
        for assignor in Assignor::ALL {
            let assignment = assignor.assign(&subscribers, &topics);
            for (partition, place) in &assignment {
                prop_assert!(subscribers[*place].topics.contains(&partition.topic));
            }
            for (topic, count) in &topics {
                let is_read = subscribers.iter().any(|member| member.topics.contains(topic));
                for partition in partitions_of(topic, *count) {
                    prop_assert_eq!(assignment.contains_key(&partition), is_read);
                }
            }
            prop_assert_eq!(&assignment, &assignor.assign(&subscribers, &topics));
        }
    }

    #[test]
    fn sticky_cannot_be_evened_out_by_any_path(topics in any_topics(), members in any_members()) {
        let subscribers = subscribers(&members);
        let assignment = Assignor::Sticky.assign(&subscribers, &topics);
        let loads = loads(&assignment, subscribers.len());
        for start in 0..subscribers.len() {
            // Everybody who can be reached from here by handing partitions on.
            let mut reached = BTreeSet::from([start]);
            loop {
                let next: Vec<_> = assignment
                    .iter()
                    .filter(|(_, owner)| reached.contains(owner))
                    .flat_map(|(partition, _)| {
                        let takers = subscribers.iter().enumerate();
                        takers.filter(|(_, taker)| taker.topics.contains(&partition.topic))
                    })
                    .map(|(place, _)| place)
                    .filter(|place| !reached.contains(place))
                    .collect();
                if next.is_empty() {
                    break;
                }
                reached.extend(next);
            }
            for end in reached {
                prop_assert!(loads[start] <= loads[end] + 1, "{loads:?}");
            }
        }
    }

    #[test]
    fn sticky_moves_nothing_when_asked_again(topics in any_topics(), members in any_members()) {
        let first = Assignor::Sticky.assign(&subscribers(&members), &topics);
        let kept: Members = members
            .iter()
            .enumerate()
            .map(|(place, (topics, _))| {
                let owned = first.iter().filter(|(_, owner)| **owner == place);
                (topics.clone(), owned.map(|(partition, _)| partition.clone()).collect())
            })
            .collect();
        prop_assert_eq!(Assignor::Sticky.assign(&subscribers(&kept), &topics), first);
    }

    #[test]
    fn sticky_moves_as_few_as_can_be_where_all_read_the_same(
        topics in any_topics(),
        (count, previous) in (1..8_usize).prop_flat_map(|count| (Just(count), any_previous(count))),
    ) {
        let all = names(&TOPICS);
        // Each partition with one who had it.
        let mut seen = BTreeSet::new();
        let members: Members = previous
            .into_iter()
            .map(|previous| {
                let previous = previous.into_iter().filter(|partition| {
                    topics.get(&partition.topic).is_some_and(|count| partition.partition < *count)
                        && seen.insert(partition.clone())
                });
                (all.clone(), previous.collect())
            })
            .collect();
        let subscribers = subscribers(&members);
        let assignment = Assignor::Sticky.assign(&subscribers, &topics);
        let loads = loads(&assignment, count);
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
        // Whoever had more than a share gives the rest away, and no other.
        let (each, more) = (assignment.len() / count, assignment.len() % count);
        let mut had: Vec<_> = members.iter().map(|(_, previous)| previous.len()).collect();
        had.sort_unstable_by(|a, b| b.cmp(a));
        let shares = had.iter().enumerate().map(|(nth, had)| {
            had.saturating_sub(each + usize::from(nth < more))
        });
        prop_assert_eq!(moves(&assignment, &subscribers), shares.sum::<usize>());
    }
}
