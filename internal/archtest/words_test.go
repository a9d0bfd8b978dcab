package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The words of the lists do not occur: the code and its texts use the terms of the field.
func TestPrivateWordsAreAbsent(t *testing.T) { obey(t, pending.words, privateWords) }

// A form is one form of a word, as it is searched for.
type form struct {
	word
	parts []string
	term  *regexp.Regexp // nil: none
}

// byFirst is the forms of a list by their first part.
type byFirst map[string][]form

func forms(list []word) byFirst {
	all := byFirst{}
	for _, w := range list {
		var term *regexp.Regexp
		if w.term != "" {
			term = regexp.MustCompile(w.term)
		}
		for f := range strings.SplitSeq(w.forms, ", ") {
			parts := strings.Fields(f)
			all[parts[0]] = append(all[parts[0]], form{w, parts, term})
		}
	}
	return all
}

var wordForms, nameForms = forms(words), forms(names)

// privateWords finds words of the lists in a file and in its name.
func privateWords(s *source) []finding {
	if s.path == wordlist {
		return nil
	}
	name := strings.TrimSuffix(path.Base(s.path), path.Ext(s.path))
	return slices.Concat(wordForms.in(s.path, name), nameForms.in(s.path, name), wordForms.in(s.path, s.text), s.privateNames())
}

// in returns the places of words in the text of a file.
func (b byFirst) in(file, text string) (found []finding) {
	all := wordsOf(text)
	for i, t := range all {
		for _, f := range b[t.word] {
			if f.at(all[i:]) && !f.isTerm(text, t.offset) && !f.isSubject(file) {
				found = append(found, finding{t.line, fmt.Sprintf("%q; better: %s", strings.Join(f.parts, " "), f.better)})
			}
		}
	}
	return found
}

// at reports whether the form begins a list.
func (f form) at(list []wordAt) bool {
	return len(list) >= len(f.parts) && slices.EqualFunc(f.parts, list[:len(f.parts)], func(part string, t wordAt) bool { return part == t.word })
}

// isTerm reports whether the word at offset is part of a term.
func (f form) isTerm(text string, offset int) bool {
	const around = 40
	if f.term == nil {
		return false
	}
	from, to := max(0, offset-around), min(len(text), offset+around)
	return slices.ContainsFunc(f.term.FindAllStringIndex(text[from:to], -1), func(place []int) bool {
		return from+place[0] <= offset && offset < from+place[1]
	})
}

// isSubject reports whether a file treats of something that has the name.
func (f form) isSubject(file string) bool {
	return slices.ContainsFunc(f.files, func(pattern string) bool { ok, err := path.Match(pattern, file); return ok && err == nil })
}

// privateNames finds words of the list for identifiers in the names that a file declares or uses.
func (s *source) privateNames() (found []finding) {
	if s.file == nil {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok && !testNames.MatchString(id.Name) {
			for _, f := range nameForms.in(s.path, id.Name) {
				found = append(found, s.at(id.Pos(), "the name %s: %s", id.Name, f.text))
			}
		}
		return true
	})
	return found
}

var testNames = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]`)

// A wordAt is a word of a text in lower case, or of an identifier: connWaits, HTTPServer and no_name have two each.
type wordAt struct {
	word         string
	offset, line int
}

// wordsOf splits a text into words. An apostrophe within a word is left out.
func wordsOf(text string) (all []wordAt) {
	var word []rune
	begin, line := 0, 1
	end := func() {
		if len(word) > 0 {
			all = append(all, wordAt{strings.ToLower(string(word)), begin, line})
			word = word[:0]
		}
	}
	runes := []rune(text + " ")
	offset := 0
	for i, r := range runes {
		if unicode.IsLetter(r) {
			if n := len(word); n > 0 && unicode.IsUpper(r) && (unicode.IsLower(word[n-1]) || unicode.IsLower(runes[i+1])) {
				end()
			}
			if len(word) == 0 {
				begin = offset
			}
			word = append(word, r)
		} else if r != '\'' || len(word) == 0 {
			end()
		}
		if r == '\n' {
			line++
		}
		offset += len(string(r))
	}
	return all
}

func TestPrivateWordsFindsListedWords(t *testing.T) {
	for _, s := range []sample{goSample, fileSample, namesSample, stuffingSample, markdownSample} {
		s.expect(t, privateWords)
	}
}

func TestWordsOfAreTheWordsOfTextsAndNames(t *testing.T) {
	var got []string
	for _, w := range wordsOf("loopWaits HTTPServer no_name don't\nio2x, Ärger") {
		got = append(got, fmt.Sprint(w.word, w.line))
	}
	want := []string{"loop1", "waits1", "http1", "server1", "no1", "name1", "dont1", "io2", "x2", "ärger2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
