"""Pictures of nets and trainings."""
