# Completion of patroni_ctl for bash.  The program itself knows its commands and
# options, and asks the store for the names of members.
_patroni_ctl()
{
	local IFS=$'\n'

	COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null < /dev/null)" \
		-- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _patroni_ctl patroni_ctl
# not instead of the completion of Patroni's own program
[ "$(readlink "$(command -v patronictl)")" != patroni_ctl ] || complete -o default -F _patroni_ctl patronictl
