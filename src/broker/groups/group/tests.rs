//! The life of a group, step by step.

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

struct Test {
    group: Membership,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        Self {
            group: Membership::default(),
            now: crate::clock::instant(),
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.group.tick(self.now);
    }

    /// Joins for the first time as `new_id`, or again as `member_id`.
    fn join(&mut self, member_id: &str, new_id: &str) -> oneshot::Receiver<Joined> {
        self.try_join(&join(member_id), new_id).unwrap()
    }

    fn try_join(
        &mut self,
        join: &Join,
        new_id: &str,
    ) -> Result<oneshot::Receiver<Joined>, ResponseError> {
        self.group.join(join.clone(), new_id.to_owned(), self.now)
    }

    fn sync(
        &mut self,
        id: &str,
        generation: i32,
        shares: &[(&str, &'static str)],
    ) -> oneshot::Receiver<Synced> {
        let shares = shares
            .iter()
            .map(|(id, share)| ((*id).to_owned(), Bytes::from_static(share.as_bytes())));
        self.group
            .sync(caller(id, generation), shares.collect(), self.now)
            .unwrap()
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), ResponseError> {
        self.group.heartbeat(caller(id, generation), self.now)
    }

    /// A stable group of `a` (the leader) and `b`, in generation 2.
    fn pair() -> Self {
        let mut test = Self::new();
        let _first = test.join("", "a");
        let mut b = test.join("", "b");
        let mut a = test.join("a", "");
        assert_eq!(joined(&mut a).generation, 2);
        assert_eq!(joined(&mut b).generation, 2);
        let mut b = test.sync("b", 2, &[]);
        let mut a = test.sync("a", 2, &[("a", "one"), ("b", "two")]);
        assert_eq!(share(&mut a), "one");
        assert_eq!(share(&mut b), "two");
        test
    }
}

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        identity: Identity::default(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
    }
}

fn caller(member_id: &str, generation: i32) -> Caller<'_> {
    Caller {
        member_id,
        instance: None,
        generation,
    }
}

fn joined(receiver: &mut oneshot::Receiver<Joined>) -> JoinedGroup {
    receiver.try_recv().expect("answered").expect("joined")
}

fn share(receiver: &mut oneshot::Receiver<Synced>) -> String {
    let share = receiver
        .try_recv()
        .expect("answered")
        .expect("synced")
        .assignment;
    String::from_utf8(share.to_vec()).unwrap()
}

#[test]
fn the_first_member_leads_and_learns_of_all_when_a_second_joins() {
    let mut test = Test::new();
    let first = joined(&mut test.join("", "a"));
    assert_eq!(
        (first.generation, first.leader.as_str(), first.members.len()),
        (1, "a", 1)
    );
    let mut b = test.join("", "b");
    assert!(b.try_recv().is_err(), "a has yet to join again");
    assert_eq!(
        test.heartbeat("a", 1),
        Err(ResponseError::RebalanceInProgress)
    );
    let a = joined(&mut test.join("a", ""));
    let b = joined(&mut b);
    assert_eq!(
        (a.generation, a.members.len(), b.generation, b.members.len()),
        (2, 2, 2, 0)
    );
    assert_eq!(test.group.describe().state, "CompletingRebalance");
    assert_eq!(Test::pair().group.describe().state, "Stable");
}

#[test]
fn a_member_that_leaves_sends_the_others_back_to_joining() {
    let mut test = Test::pair();
    assert_eq!(test.heartbeat("a", 2), Ok(()));
    test.group.leave("b", None, test.now).unwrap();
    assert_eq!(
        test.heartbeat("a", 2),
        Err(ResponseError::RebalanceInProgress)
    );
    assert_eq!(joined(&mut test.join("a", "")).generation, 3);
    test.group.leave("a", None, test.now).unwrap();
    assert_eq!(
        test.group.leave("a", None, test.now),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        (test.group.describe().state, test.group.is_empty()),
        ("Empty", true)
    );
}

#[test]
fn a_silent_member_is_lost_after_its_session_timeout() {
    let mut test = Test::pair();
    test.wait(SESSION);
    test.heartbeat("a", 2).unwrap();
    test.wait(Duration::from_millis(1));
    assert_eq!(test.heartbeat("b", 2), Err(ResponseError::UnknownMemberId));
    assert_eq!(
        test.heartbeat("a", 2),
        Err(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn a_member_whose_connection_goes_while_it_waits_is_lost_at_once() {
    let mut test = Test::pair();
    let waiting = test.join("", "c");
    drop(waiting);
    test.wait(Duration::from_millis(100));
    let mut a = test.join("a", "");
    let mut b = test.join("b", "");
    assert_eq!(
        (joined(&mut a).members.len(), joined(&mut b).generation),
        (2, 3)
    );
}

#[test]
fn who_does_not_join_again_in_time_is_left_out() {
    let mut test = Test::pair();
    let mut c = test.join("", "c");
    for _ in 0..12 {
        assert!(c.try_recv().is_err(), "still waiting");
        let _rejoin_needed = test.heartbeat("a", 2);
        let _rejoin_needed = test.heartbeat("b", 2);
        test.wait(REBALANCE / 12);
    }
    let c = joined(&mut c);
    assert_eq!(
        (c.generation, c.leader.as_str(), c.members.len()),
        (3, "c", 1)
    );
}

#[test]
fn a_leader_that_never_assigns_is_replaced() {
    let mut test = Test::new();
    let _a = test.join("", "a");
    let mut b = test.join("", "b");
    let _a = test.join("a", "");
    let generation = joined(&mut b).generation;
    let mut waiting = test.sync("b", generation, &[]);
    for _ in 0..12 {
        test.heartbeat("a", generation).unwrap();
        test.wait(REBALANCE / 12);
    }
    let sent_back = waiting.try_recv().expect("answered");
    assert_eq!(sent_back, Err(ResponseError::RebalanceInProgress));
    assert_eq!(joined(&mut test.join("b", "")).leader, "b");
}

#[test]
fn joining_again_without_a_change_needs_no_new_generation() {
    let mut test = Test::pair();
    let again = joined(&mut test.join("b", ""));
    assert_eq!((again.generation, again.members.len()), (2, 0));
    assert_eq!(share(&mut test.sync("b", 2, &[])), "two");
    let _leader = test.join("a", "");
    assert_eq!(
        test.heartbeat("b", 2),
        Err(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn an_instance_that_starts_again_takes_its_place_and_the_old_one_is_fenced() {
    let mut test = Test::new();
    let mut instance = join("");
    instance.identity.instance = Some("i".to_owned());
    assert_eq!(
        joined(&mut test.try_join(&instance, "old").unwrap()).leader,
        "old"
    );
    let new = joined(&mut test.try_join(&instance, "new").unwrap());
    assert_eq!(
        (new.leader.as_str(), new.members.len(), new.generation),
        ("new", 1, 2)
    );
    let old = Caller {
        member_id: "old",
        instance: Some("i"),
        generation: 1,
    };
    assert_eq!(
        test.group.heartbeat(old, test.now),
        Err(ResponseError::FencedInstanceId)
    );
    assert_eq!(
        test.group.leave("old", Some("i"), test.now),
        Err(ResponseError::FencedInstanceId)
    );
    instance.member_id = "old".to_owned();
    assert_eq!(
        test.try_join(&instance, "").unwrap_err(),
        ResponseError::FencedInstanceId
    );
    test.group.leave("", Some("i"), test.now).unwrap();
    assert!(test.group.is_empty(), "it left by its instance");
}

#[test]
fn members_without_a_common_protocol_do_not_meet() {
    let mut test = Test::pair();
    let mut other = join("");
    other.protocols[0].0 = "sticky".to_owned();
    assert_eq!(
        test.try_join(&other, "c").unwrap_err(),
        ResponseError::InconsistentGroupProtocol
    );
    other.protocols.push(("range".to_owned(), Bytes::new()));
    other.protocol_type = "connect".to_owned();
    assert_eq!(
        test.try_join(&other, "c").unwrap_err(),
        ResponseError::InconsistentGroupProtocol
    );
    other.protocol_type = "consumer".to_owned();
    let _c = test.try_join(&other, "c").unwrap();
    assert_eq!(
        test.try_join(&join("x"), "").unwrap_err(),
        ResponseError::UnknownMemberId
    );
}

#[test]
fn commits_come_from_members_of_this_generation_or_from_outside_of_an_empty_group() {
    let mut test = Test::new();
    let outside = caller("", -1);
    assert_eq!(test.group.check_commit(outside, false, test.now), Ok(()));
    let mut test = Test::pair();
    let mut check =
        |caller, in_transaction| test.group.check_commit(caller, in_transaction, test.now);
    assert_eq!(check(outside, false), Err(ResponseError::UnknownMemberId));
    assert_eq!(check(outside, true), Ok(()));
    assert_eq!(check(caller("a", 2), false), Ok(()));
    assert_eq!(
        check(caller("a", 1), true),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        check(caller("z", 2), false),
        Err(ResponseError::UnknownMemberId)
    );
}
