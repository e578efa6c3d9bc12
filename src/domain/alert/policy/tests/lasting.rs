//! What survives a restart.

use crate::domain::alert::policy::tests::world::World;

#[test]
fn a_restart_neither_pages_again_nor_forgets() {
    for at in [0, 5, 12, 70] {
        let mut world = World::new();
        world.probe("api", |_| {});
        world.fail("api", 2);
        world.pass(at);
        world.restart();
        world.pass(80 - at);
        world.restart();
        world.fine("api", 2);
        world.restart();
        world.pass(60);
        assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"], "restarted after {at} s");
    }
}

#[test]
fn what_the_config_names_no_longer_after_a_restart_is_over() {
    let mut world = World::new();
    world.probe("api", |_| {});
    world.fail("api", 2);
    world.pass(60);
    world.probes = crate::domain::probe::ProbeBoard::default();
    world.restart();
    world.pass(600);
    assert_eq!(world.sent(), ["trigger sms h/api/1", "resolve sms h/api/1"]);
}
