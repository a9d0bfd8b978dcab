package archtest

import (
	"regexp"
	"strings"
	"testing"
)

// The name of a test is in words and no comment cites an item by a letter and a number: a reader has no list to look it up in.
func TestNothingIsNamedByTheItemOfAList(t *testing.T) { obey(t, pending.items, listItems) }

var (
	numberedTest = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)_?[A-Z]?\d`)
	listItem     = regexp.MustCompile(`\b[DS]\d{1,2}\b`)
)

// listItems finds names of tests that begin with a number and comments that cite one.
func listItems(s *source) (found []finding) {
	if s.file == nil {
		return nil
	}
	for _, f := range s.funcs() {
		if s.isTest() && f.Recv == nil && numberedTest.MatchString(f.Name.Name) {
			found = append(found, s.at(f.Pos(), "the name %s has a number in place of words", f.Name.Name))
		}
	}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			text := strings.ReplaceAll(c.Text, "S3-FIFO", "") // an algorithm
			if item := listItem.FindString(text); item != "" {
				found = append(found, s.at(c.Pos(), "%s is an item of a list that the repository lacks", item))
			}
		}
	}
	return found
}

func TestListItemsFindsNumbers(t *testing.T) {
	const item = "D" + "3"
	sample{"a_test.go", `package a

// The loop goes on. S3-FIFO, HTTP2, D2O and 3 are no items.
// ` + item + `, the loop stops // bad
func TestS1TheLoopStops() {} // bad

func Test2() {} // bad

func TestTheLoopStops() {}

func TestUTF8() {}
`}.expect(t, listItems)
}
