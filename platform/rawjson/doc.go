// Package rawjson works on JSON as bytes: it checks values, cuts them into their parts, and reads and writes strings, without
// building anything. Most of what passes through Starling is checked once, where it comes in, and is only cut and passed on
// from there; whoever needs a part as a Go value decodes that part alone.
//
//	checks                 Valid, Scanner        everything from outside, once
//	cuts checked JSON      Split, First, Field, Members
//	reads a raw string     Unquote, Plain, Is
//	reads a raw number     Whole, PlainWhole
//	writes a string        AppendString          byte for byte as JSON.stringify
//
// The functions that cut never look at more than they need: on JSON that nobody checked they return something, which is
// not further specified, and do not panic. Results alias their input.
//
// The package does no I/O, keeps no clock and shares nothing between goroutines.
package rawjson
