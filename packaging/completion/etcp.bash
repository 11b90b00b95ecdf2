# SPDX-License-Identifier: MIT
# bash completion for etcp(1), etcp-server(8) and etcp-agent(8)

_etcp_files()
{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_etcp_words()
{
    mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1")
}

_etcp_remote="-c --config --identity --server-key --network-key --suite -v --verbose --help"

_etcp()
{
    local cur prev command=${COMP_WORDS[1]-}
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _etcp_words "$cur" "keygen pubkey check ping connect status --help --version"
        return
    fi
    case $prev in
        -c | --config | --identity | --network-key) _etcp_files "$cur"; return ;;
        --suite) _etcp_words "$cur" "auto aes256gcm chacha20poly1305"; return ;;
        --server-key | -i | --interval) return ;;
        -n | --count) [[ $command == keygen ]] || return ;;
    esac
    case $command in
        keygen) [[ $cur == -* ]] && _etcp_words "$cur" "-n --network --help" || _etcp_files "$cur" ;;
        pubkey) [[ $cur == -* ]] && _etcp_words "$cur" "--help" || _etcp_files "$cur" ;;
        check) [[ $cur == -* ]] && _etcp_words "$cur" "--server --agent --help" || _etcp_files "$cur" ;;
        ping) [[ $cur == -* ]] && _etcp_words "$cur" "-n --count -i --interval $_etcp_remote" ;;
        status) [[ $cur == -* ]] && _etcp_words "$cur" "--json --watch --help" || _etcp_words "$cur" "server agent" ;;
        connect) [[ $cur == -* ]] && _etcp_words "$cur" "$_etcp_remote" ;;
    esac
}

_etcp_daemon()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $prev in
        -c | --config) _etcp_files "$cur" ;;
        --log-level) _etcp_words "$cur" "error warning notice info debug" ;;
        *) _etcp_words "$cur" "-c --config -t --check-config -T --dump-config --log-level --version --help" ;;
    esac
}

complete -F _etcp etcp
complete -F _etcp_daemon etcp-server etcp-agent
