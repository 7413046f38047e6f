package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/isotime"
)

type userCommands struct {
	List    listUsers   `cmd:"" help:"List users by id."`
	Disable disableUser `cmd:"" help:"Close all sockets of a user, and let the user in no more."`
	Enable  enableUser  `cmd:"" help:"Let a disabled user in again."`
	Passwd  setPassword `cmd:"" help:"Set a user's password, read from the terminal or as a line of standard input, and end all logins."`
	Delete  deleteUser  `cmd:"" help:"Delete a user for good: close all sockets, and forget name, password and profile. The id stays taken."`
}

// profile is a user as REST shows one.
type profile struct {
	ID        string          `json:"id"`
	Username  string          `json:"username"`
	Name      string          `json:"name"`
	AvatarURL string          `json:"avatarUrl"`
	Data      json.RawMessage `json:"data"`
	Role      string          `json:"role"`
	Disabled  bool            `json:"disabled"`
	CreatedAt string          `json:"createdAt"`
}

func profileOf(p users.Profile) profile {
	data := json.RawMessage(p.Data)
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	return profile{
		ID: string(p.ID), Username: p.Username, Name: p.Name, AvatarURL: p.AvatarURL, Data: data, Role: string(p.Role),
		Disabled: p.Disabled, CreatedAt: isotime.Format(p.CreatedAt),
	}
}

type listUsers struct {
	page
	Disabled bool `name:"disabled" help:"Only those who are disabled."`
}

// Run prints a page of users.
func (c *listUsers) Run(ctx context.Context, o *Operator) error {
	list, err := o.Users.List(ctx, users.Query{After: auth.UserID(c.After), Disabled: c.Disabled, Limit: c.Limit})
	if err != nil {
		return err
	}
	answer := struct {
		Users []profile `json:"users"`
		Next  string    `json:"next,omitempty"`
	}{Users: []profile{}}
	var rows [][]string
	for _, p := range list {
		answer.Users = append(answer.Users, profileOf(p))
		state := "enabled"
		if p.Disabled {
			state = "disabled"
		}
		rows = append(rows, []string{string(p.ID), orDash(p.Username), string(p.Role), state, p.CreatedAt.UTC().Format(time.DateOnly), p.Name})
	}
	if len(list) == c.Limit { // there may be more
		answer.Next = string(list[len(list)-1].ID)
	}
	err = o.answer(answer, table([]string{"ID", "USERNAME", "ROLE", "STATE", "CREATED", "NAME"}, rows))
	if answer.Next != "" && !o.JSON {
		o.remark("The next page: --after=%s", answer.Next)
	}
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// named is the user that a command is about.
type named struct {
	User string `arg:"" help:"Id or user name."`
	By   string `name:"by" enum:"any,id,username" default:"any" help:"What USER is, where it may be both: id or username."`
}

// find looks the user up.
func (n *named) find(ctx context.Context, o *Operator) (users.Profile, error) {
	id, username := auth.UserID(n.User), n.User
	switch n.By {
	case "id":
		username = ""
	case "username":
		id = ""
	}
	p, err := o.Users.Find(ctx, id, username)
	if fault.KindOf(err) == fault.Conflict {
		return p, fault.Newf(fault.Conflict, "%s is the id of one user and the user name of another: say --by=id or --by=username", n.User)
	}
	return p, err
}

// label names a user to an operator.
func label(p users.Profile) string {
	if p.Username == "" {
		return string(p.ID)
	}
	return fmt.Sprintf("%s (%s)", p.Username, p.ID)
}

type disableUser struct{ named }

// Run disables the user.
func (c *disableUser) Run(ctx context.Context, o *Operator) error {
	return c.change(ctx, o, true, "Disabled ")
}

type enableUser struct{ named }

// Run enables the user.
func (c *enableUser) Run(ctx context.Context, o *Operator) error {
	return c.change(ctx, o, false, "Enabled ")
}

func (n *named) change(ctx context.Context, o *Operator, disabled bool, done string) error {
	p, err := n.find(ctx, o)
	if err != nil {
		return err
	}
	if p, err = o.Users.Change(ctx, users.Change{ID: p.ID, Disabled: &disabled}, auth.By{}); err != nil {
		return err
	}
	return o.answer(profileOf(p), done+label(p))
}

type setPassword struct{ named }

// Run reads the password, and sets it.
func (c *setPassword) Run(ctx context.Context, o *Operator) error {
	p, err := c.find(ctx, o)
	if err != nil {
		return err
	}
	typed, err := o.readPassword(ctx, label(p))
	if err != nil {
		return err
	}
	if err := o.Passwords.SetPassword(ctx, p.ID, typed, auth.By{}); err != nil {
		return err
	}
	return o.answer(profileOf(p), "Set the password of "+label(p))
}

type deleteUser struct{ named }

// Run deletes the user.
func (c *deleteUser) Run(ctx context.Context, o *Operator) error {
	p, err := c.find(ctx, o)
	if err != nil {
		return err
	}
	if err := o.Users.Delete(ctx, p.ID, auth.By{}); err != nil {
		return err
	}
	return o.answer(struct{}{}, "Deleted "+label(p))
}
