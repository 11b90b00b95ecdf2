# SPDX-License-Identifier: MIT
"""Who is let in: authorised agents, strangers, network keys, and what the log says of them."""

import re

import etcp_peer as peer

NAMED = 'service "echo" { type = "echo" allow = {"agent", "other"} }'


def named_server(etcp, **options):
    return etcp.server(rest=NAMED, echo=False, **options)


def rejected(etcp, server, static):
    connection = etcp.connect(server, static, suite=peer.CHACHA, ask=False)
    frames, how = connection.frames_to_end()
    assert [frame.id for frame in frames] == [peer.GOODBYE], frames
    assert how == "fin"
    return frames[0], connection


def test_an_unauthorised_agent_is_told_and_logged_once_with_its_address(etcp):
    server = named_server(etcp)
    stranger = peer.new_secret()
    goodbye, connection = rejected(etcp, server, stranger)
    assert goodbye.code == peer.CODE_UNAUTHORIZED
    address = "127.0.0.1:%d" % connection.sock.getsockname()[1]
    server.log.wait(re.escape(address))
    friend = etcp.connect(server)
    friend.echo(friend.open(), b"friend")
    public = peer.key_text("pub", peer.public_of(stranger))
    lines = [line for line in server.log.lines(re.escape(address)) if "authentication failed" in line]
    assert len(lines) == 1, server.log.text
    assert public in lines[0], "the operator can copy the key from the log"


def test_an_unauthorised_agents_streams_are_not_served(etcp):
    """Streams may be sent right behind Authentication; a stranger's must not be looked at."""
    server = named_server(etcp)
    shake = peer.AgentHandshake(peer.open_socket(server.address), peer.CHACHA, peer.new_secret())
    etcp.keep(shake)
    shake.send(shake.request())
    shake.receive_response()
    authentication = shake.authentication()
    connection = shake.connection()
    shake.send(
        authentication
        + connection.seal(peer.heartbeat_frame(peer.ASK))
        + connection.seal(peer.open_frame(1, "echo"))
        + connection.seal(peer.frame(peer.DATA, 1, b"let me in"))
    )
    frames, how = connection.frames_to_end()
    assert [frame.id for frame in frames] == [peer.GOODBYE] and frames[0].code == peer.CODE_UNAUTHORIZED
    assert how == "fin"


def test_everything_at_once_from_an_agent_is_served(etcp):
    """Authentication, heartbeat, stream and data in one segment."""
    server = named_server(etcp)
    shake = peer.AgentHandshake(peer.open_socket(server.address), peer.CHACHA, etcp.agent_secret)
    etcp.keep(shake)
    shake.send(shake.request())
    shake.receive_response()
    authentication = shake.authentication()
    connection = shake.connection()
    shake.send(
        authentication
        + connection.seal(peer.heartbeat_frame(peer.ASK))
        + connection.seal(peer.open_frame(1, "echo"))
        + connection.seal(peer.frame(peer.DATA, 1, b"at once"))
    )
    assert connection.expect(peer.HEARTBEAT).kind == peer.ANSWER
    assert connection.expect(peer.DATA, 1, skip=(peer.CREDIT,)).body == b"at once"


def test_a_star_lets_in_everybody_but_only_there(etcp):
    server = etcp.server(rest='service "private" { type = "echo" allow = {"agent"} }')
    stranger = etcp.connect(server, peer.new_secret())
    stranger.echo(stranger.open("echo"), b"open to all")
    private = stranger.open("private")
    assert stranger.expect(peer.ERROR, private).code in (peer.CODE_UNAUTHORIZED, peer.CODE_NO_SUCH_SERVICE)
    stranger.heartbeat(skip=())
    friend = etcp.connect(server)
    friend.echo(friend.open("private"), b"members only")


def test_a_service_of_others_is_refused(etcp):
    second = peer.new_secret()
    etcp.authorize(peer.public_of(second), "second")
    server = etcp.server(
        rest='service "one" { type = "echo" allow = {"agent"} }\n' 'service "two" { type = "echo" allow = {"second"} }',
        echo=False,
    )
    for secret, mine, others in ((etcp.agent_secret, "one", "two"), (second, "two", "one")):
        connection = etcp.connect(server, secret)
        connection.echo(connection.open(mine), b"mine")
        assert connection.expect(peer.ERROR, connection.open(others)).code in (
            peer.CODE_UNAUTHORIZED,
            peer.CODE_NO_SUCH_SERVICE,
        )


def test_several_keys_may_share_a_name(etcp):
    new = peer.new_secret()
    etcp.authorize(peer.public_of(new), "agent")
    server = named_server(etcp)
    for secret in (etcp.agent_secret, new):
        connection = etcp.connect(server, secret)
        connection.echo(connection.open(), b"rotated")


def test_network_key_on_both_sides_or_silence(etcp):
    key = etcp.new_key("net", "network.key")
    server = etcp.server(network_key_file='"%s"' % (etcp.path / "network.key"))
    member = etcp.connect(server, suite=peer.CHACHA_NETWORK, network_key=key)
    member.echo(member.open(), b"member")
    for suite, wrong in ((peer.CHACHA, None), (peer.CHACHA_NETWORK, bytes(32))):
        wire = etcp.socket(server)
        wire.send(peer.AgentHandshake(wire.sock, suite, network_key=wrong).request())
        wire.receive_end()


def test_membership_is_not_authorisation(etcp):
    key = etcp.new_key("net", "network.key")
    server = named_server(etcp, network_key_file='"%s"' % (etcp.path / "network.key"))
    connection = etcp.connect(server, peer.new_secret(), suite=peer.CHACHA_NETWORK, network_key=key, ask=False)
    frames, _ = connection.frames_to_end()
    assert [frame.code for frame in frames] == [peer.CODE_UNAUTHORIZED]


def test_a_missing_list_means_nobody_by_name(etcp):
    etcp.authorized.unlink()
    server = named_server(etcp)
    goodbye, _ = rejected(etcp, server, etcp.agent_secret)
    assert goodbye.code == peer.CODE_UNAUTHORIZED


def test_the_log_has_one_line_when_a_peer_is_there_and_one_when_it_is_gone(etcp):
    server = named_server(etcp, log_level='"info"')
    connection = etcp.connect(server)
    address = "127.0.0.1:%d" % connection.sock.getsockname()[1]
    connection.echo(connection.open(), b"x" * 1000)
    connection.goodbye()
    connection.frames_to_end()
    connection.close()
    server.log.wait(re.escape(address), 2)
    assert server.stop() == 0
    lines = server.log.lines(re.escape(address))
    assert len(lines) in (2, 3), lines
    assert any("agent" in line for line in lines)


def test_text_of_a_peer_is_escaped_in_the_log(etcp):
    server = named_server(etcp)
    connection = etcp.connect(server)
    connection.goodbye(peer.CODE_INTERNAL, b"bye\x1b[31m\nfake: line\x07\xff\xe2\x80\xae")
    connection.frames_to_end()
    connection.close()
    server.log.wait(r"bye")
    assert server.stop() == 0
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", server.log.text)
    assert not server.log.lines("^fake")
    assert b"\xff" not in server.log.data and b"\xe2\x80\xae" not in server.log.data
