"""One relay process: joins the rooms of the relay."""
