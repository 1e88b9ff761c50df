"""Groups of real clients of Kafka's: who reads what, whatever happens to members and broker."""

import signal

import pytest
from conftest import eventually

PARTITIONS = 6
KINDS = [
    ("confluent", "range"),
    ("confluent", "roundrobin"),
    ("confluent", "cooperative-sticky"),
    ("kafka-python", "range"),
    ("kafka-python", "roundrobin"),
    ("aiokafka", "range"),
    ("aiokafka", "roundrobin"),
]
CLIENTS = ["confluent", "kafka-python", "aiokafka"]


def share(members):
    """Until they have all partitions among them, each its part, and none twice."""

    def is_shared():
        parts = [member.holds() for member in members]
        sizes = sorted(len(part) for part in parts)
        return set().union(*parts) == set(range(PARTITIONS)) and sum(sizes) == PARTITIONS and sizes[0] > 0

    eventually(is_shared, lambda: [(member.holds(), member.said[-5:]) for member in members])


def read_all(broker, members, each, group="g"):
    """Until so many records of each partition are read and committed; how many were read more than once."""
    expected = {(partition, offset) for partition in range(PARTITIONS) for offset in range(each)}

    def missing():
        found = [record for member in members for record in member.records()]
        return expected - set(found)

    eventually(lambda: not missing(), lambda: (len(missing()), [member.said[-5:] for member in members]))
    committed = [each] * PARTITIONS
    eventually(
        lambda: broker.committed(group, "t", PARTITIONS) == committed,
        lambda: broker.committed(group, "t", PARTITIONS),
    )
    found = [record for member in members for record in member.records()]
    return len(found) - len(expected)


@pytest.mark.parametrize(("client", "assignor"), KINDS)
def test_members_share_and_one_that_is_killed_is_replaced(broker, member, client, assignor):
    broker.create("t", PARTITIONS)
    members = [member(client, assignor=assignor) for _ in range(3)]
    share(members)
    broker.produce("t", PARTITIONS, 50)
    assert read_all(broker, members, 50) == 0
    members[0].kill()
    share(members[1:])
    broker.produce("t", PARTITIONS, 50)
    read_all(broker, members, 100)
    # Who leaves is not waited for.
    members[1].leave()
    share(members[2:])
    broker.produce("t", PARTITIONS, 10)
    read_all(broker, members, 110)


@pytest.mark.parametrize(("client", "assignor"), KINDS)
def test_member_that_joins_in_the_middle_costs_no_record(broker, member, client, assignor):
    broker.create("t", PARTITIONS)
    members = []
    for number in range(1, 5):
        broker.produce("t", PARTITIONS, 30)
        members.append(member(client, assignor=assignor))
    read_all(broker, members, 120)
    share(members)


@pytest.mark.parametrize("client", CLIENTS)
def test_member_that_stood_still_past_its_session_comes_back(broker, member, client):
    broker.create("t", PARTITIONS)
    members = [member(client) for _ in range(3)]
    share(members)
    members[0].signal(signal.SIGSTOP)
    share(members[1:])
    broker.produce("t", PARTITIONS, 20)
    read_all(broker, members[1:], 20)
    members[0].signal(signal.SIGCONT)
    share(members)
    broker.produce("t", PARTITIONS, 20)
    read_all(broker, members, 40)


@pytest.mark.parametrize("client", CLIENTS)
def test_static_member_that_is_started_again_moves_nothing(broker, member, client):
    broker.create("t", PARTITIONS)
    members = [member(client, instance=f"i{number}") for number in range(3)]
    share(members)
    before = [it.holds() for it in members]
    rebalances = [it.count("assigned") for it in members]
    members[1].kill()
    members[1] = member(client, instance="i1")
    eventually(lambda: members[1].holds() == before[1], lambda: members[1].said)
    broker.produce("t", PARTITIONS, 20)
    read_all(broker, members, 20)
    assert [it.holds() for it in members] == before
    assert members[0].count("assigned") == rebalances[0]
    assert members[2].count("assigned") == rebalances[2]


@pytest.mark.parametrize(("client", "assignor"), KINDS)
def test_broker_that_is_killed_in_the_middle_costs_no_record(broker, member, client, assignor):
    broker.create("t", PARTITIONS)
    members = [member(client, assignor=assignor) for _ in range(3)]
    share(members)
    broker.produce("t", PARTITIONS, 50)
    read_all(broker, members, 50)
    broker.kill()
    broker.start()
    broker.produce("t", PARTITIONS, 50)
    again = read_all(broker, members, 100)
    # All was committed as it was read, and members of before the restart are known.
    assert again == 0
    share(members)


@pytest.mark.parametrize("client", CLIENTS)
def test_native_consumers_go_on_where_others_stopped_and_the_other_way_round(broker, member, client):
    broker.create("t", PARTITIONS)
    first = member(client)
    broker.produce("t", PARTITIONS, 10)
    read_all(broker, [first], 10)
    first.leave()
    broker.produce("t", PARTITIONS, 10)
    count = 10 * PARTITIONS
    consumed = broker.run("consume", "t", "--group", "g", "--count", str(count), "--json")
    assert len(consumed.splitlines()) == count
    broker.produce("t", PARTITIONS, 10)
    second = member(client)
    eventually(lambda: len(second.records()) >= count, lambda: second.said[-5:])
    offsets = {offset for _, offset in second.records()}
    assert offsets == set(range(20, 30))
