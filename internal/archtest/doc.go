// Package archtest holds the rules of the repository as tests: which package may import which, how long files and functions may be, what a comment has to
// say, and which words do not occur. It has no code of its own. Each test is named for its rule; the tables of a rule stand above its test.
//
// The tests read the source of the whole repository, the modules bench and memcache/difftest included, and not only the files that are built for the
// system on which they run. Each check is a function that looks at one file and is tested itself, with source that breaks the rule.
package archtest
